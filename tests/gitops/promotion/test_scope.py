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
        ("benchmarks/results/faces.md", "lint test"),
        ("docs/drawn-faces.md", "lint test"),
        ("docs/airflow-guide.md", "lint test"),
        ("docs/write-a-dag.md", "lint test"),
        ("docs/howto/hotfix.md", "lint test"),
        ("environments/prod/release.yaml", ""),
        ("environments/prod/settings.env", "lint test dags"),
        ("src/face_attributes/README.md", "lint test dags train"),
        ("data/labelled/monday.parquet.dvc", "lint test dags train"),
        (".github/CODEOWNERS", "lint test"),
        (".github/workflows/promote.yml", "lint review test"),
        ("requirements.lock", "lint review test dags train"),
        ("something/new.txt", "lint review test dags train"),
        ("environments/prod/nested/release.yaml", "lint test dags"),
        ("docsy/x.md", "lint review test dags train"),
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
    assert found == {"lint": "tests/a.py", "test": "tests/a.py", "dags": "dags/a.py"}


def test_labelled_images_that_a_candidate_was_trained_with_need_no_other_training() -> None:
    batch = "data/labelled/monday.parquet.dvc"
    assert set(of_files(["dvc.lock", "metrics/evaluation.json", batch])) == set()
    assert set(of_files([batch])) == {"lint", "test", "dags", "train"}
    assert set(of_files(["dvc.lock", batch, "params.yaml"])) == {"lint", "test", "dags", "train"}


def test_the_command(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.clone.path)
    lab.branch("feature", {"dags/new.py": b"\n"})
    done = CliRunner().invoke(app, ["scope", "--head", "feature"])
    assert done.stdout == "lint=true\nreview=false\ntest=true\ndags=true\ntrain=false\nmodels=false\n"
    assert done.stderr.splitlines() == [
        "lint: for dags/new.py",
        "review: not needed",
        "test: for dags/new.py",
        "dags: for dags/new.py",
        "train: not needed",
    ]
