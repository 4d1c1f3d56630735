from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitops.cli import app
from gitops.git.repository import Repository
from gitops.promotion.scope import CHECKS, of_file, of_files
from tests.support.lab import Lab

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("path", "checks"),
    [
        ("README.md", ""),
        ("docs/data.md", "test"),
        ("docs/airflow-guide.md", "test"),
        ("docs/howto/hotfix.md", "test"),
        ("environments/prod/release.yaml", ""),
        ("environments/prod/settings.env", "test dags"),
        ("src/face_attributes/README.md", "test dags train"),
        ("data/labelled/monday.parquet.dvc", "test dags train"),
        (".github/CODEOWNERS", "test"),
        ("something/new.txt", "test dags train"),
        ("environments/prod/nested/release.yaml", "test dags"),
        ("docsy/x.md", "test dags train"),
    ],
)
def test_what_a_file_needs(path: str, checks: str) -> None:
    assert " ".join(check for check in CHECKS if check in of_file(path)) == checks


def test_every_file_that_a_stage_depends_on_is_trained_with() -> None:
    stages = (ROOT / "dvc.yaml").read_text()
    paths = Repository(ROOT).git("ls-files", "src/face_attributes").splitlines()
    assert all("train" in of_file(path) for path in [*paths, "dvc.yaml", "params.yaml"])
    assert "src/gitops" not in stages


def test_the_first_file_is_the_reason() -> None:
    found = of_files(["README.md", "tests/a.py", "dags/a.py", "tests/b.py"])
    assert found == {"test": "tests/a.py", "dags": "dags/a.py"}


def test_the_command(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.clone.path)
    lab.branch("feature", {"dags/new.py": b"\n"})
    done = CliRunner().invoke(app, ["scope", "--head", "feature"])
    assert done.stdout == "test=true\ndags=true\ntrain=false\nmodels=false\n"
    assert done.stderr == "test: for dags/new.py\ndags: for dags/new.py\ntrain: not needed\n"
