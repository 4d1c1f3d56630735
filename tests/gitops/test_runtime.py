"""`gitops` in a checkout other than the one that the virtual environment knows."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import conftest
from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """A second checkout, whose code is that of the first."""
    for name in ("infra", "src/gitops"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    return tmp_path


def run(folder: Path, *arguments: str, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables = own if path is None else own | {"PYTHONPATH": path}
    return captured([sys.executable, *arguments], cwd=folder, env=variables)


@pytest.mark.parametrize(
    "program", [("gitops", "explain"), pytest.param(("infra.local", "status"), marks=pytest.mark.long)]
)
def test_other_code_is_refused_in_a_second_checkout(second: Path, program: Sequence[str]) -> None:
    assert "has another; run make setup there" not in run(second, "-m", *program).stderr
    with (second / "src/gitops/paths.py").open("a") as file:
        file.write("# changed\n")
    folders = (second, second / "docs") if program[0] == "gitops" else (second,)
    for folder in folders:
        refused = run(folder, "-m", *program)
        assert refused.returncode == 1
        reason, following = refused.stderr.splitlines()
        assert f"this gitops is that of {ROOT}, and {second} has another; run make setup there" in reason
        assert following == "Next: make setup"
    own = run(second, "-m", *program, path=str(second / "src"))
    assert "has another; run make setup there" not in own.stderr


def test_a_process_of_dvc_runs_the_code_that_started_it(second: Path) -> None:
    (second / "src/gitops/dvc/objects.py").write_text("print('THE NEW CODE')\n")
    program = "import subprocess; from gitops.dvc.process import own_module; "
    program += "subprocess.run(own_module('gitops.dvc.objects'), check=True)"
    assert run(second, "-c", program, path=str(second / "src")).stdout == "THE NEW CODE\n"


def test_tests_are_not_run_with_the_code_of_another_checkout(second: Path) -> None:
    shutil.copy(conftest.__file__, second)
    (second / "pytest.ini").touch()
    refused = run(second, "-m", "pytest", "-p", "no:cacheprovider", path=str(ROOT))
    assert refused.returncode == 4
    assert f"this is the .venv of {ROOT}; run make setup here" in refused.stderr
