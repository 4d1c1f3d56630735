"""The files of a new DAG: formed as the linter wants them, and there all or not at all."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import files as local
from infra.scaffold import files
from infra.scaffold.errors import ScaffoldError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["a", "dag_of_a_test", "a" * 60])
def test_the_linter_has_nothing_to_say_of_them(name: str, tmp_path: Path) -> None:
    files.write(tmp_path, files.render(name))
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    # What sorts imports knows our own modules by their files.
    for module in (
        "dags/visage_dags/dag_defaults.py",
        "infra/dag_smoke_test/sandbox.py",
        "src/gitops/tasks.py",
    ):
        (tmp_path / module).parent.mkdir(parents=True)
        (tmp_path / module).touch()
    for command in (["check"], ["check", "--select", "AIR", "--preview"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "dags", "tests"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_replaced(tmp_path: Path) -> None:
    made = files.render("faces")
    _, test, _ = made
    (tmp_path / test).parent.mkdir(parents=True)
    (tmp_path / test).write_text("mine")
    with pytest.raises(
        ScaffoldError, match=r"tests/dags/test_faces_dag\.py: there already; nothing was written"
    ):
        files.write(tmp_path, made)
    assert [path.name for path in tmp_path.rglob("*.py")] == ["test_faces_dag.py"]
    assert (tmp_path / test).read_text() == "mine"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_half_of_it_is_taken_back(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = local.write, []

    def fails_at_the_second(path: Path, text: str) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise error
        write(path, text)

    monkeypatch.setattr(local, "write", fails_at_the_second)
    with pytest.raises((ScaffoldError, KeyboardInterrupt)) as caught:
        files.write(tmp_path, files.render("faces"))
    if isinstance(error, OSError):
        assert str(caught.value).endswith("No space left on device; nothing was written")
    assert len(calls) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
