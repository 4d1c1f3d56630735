"""gitops as a distribution of its own: without Airflow, PyTorch and the model code's libraries."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gitops.diff import dags
from gitops.errors import DagsError
from gitops.gates.comparison import parse
from tests.support import colours
from tests.support.checkout import commit
from tests.support.environments import ENVIRONMENTS
from tests.support.lab import ROOT, Lab

LIMIT = 150_000_000
ABSENT = ("airflow", "cv2", "evidently", "numpy", "onnxruntime", "pandas", "torch")

# Imports every module that is not for the inside of Airflow. What the distribution lacks cannot be found.
IMPORT = f"""\
import importlib, pkgutil, sys
sys.modules |= dict.fromkeys({ABSENT}, None)
import gitops
for module in pkgutil.walk_packages(gitops.__path__, "gitops."):
    if not module.name.endswith("__main__") and module.name not in {{inside}}:
        importlib.import_module(module.name)
"""
INSIDE_AIRFLOW = {
    "gitops.airflow.bundle",
    "gitops.airflow.deadline",
    "gitops.airflow.executor",
    "gitops.airflow.health_task",
    "gitops.airflow.observe",
    "gitops.airflow.plugin",
    "gitops.airflow.task_logs",
    "gitops.airflow.watch",
}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_module_outside_airflow_imports_what_the_distribution_lacks(tmp_path: Path) -> None:
    run(sys.executable, "-c", IMPORT.format(inside=INSIDE_AIRFLOW), cwd=tmp_path)


def test_dags_are_not_compared_without_airflow(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dags, "installed", lambda library: library != "airflow")
    commit = lab.commit({"dags/example.py": b"# airflow DAG\n"})
    with pytest.raises(DagsError, match="Airflow is not installed beside gitops; run make setup"):
        dags.changes(lab.origin, lab.tip, commit)


def install(folder: Path, *distributions: str) -> Path:
    """Install distributions at the versions of the lock; return the folder of their commands."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=ROOT)
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "install", "--python", folder / "bin/python", "--constraints", "requirements.lock"]
    run(*command, *distributions, cwd=ROOT)
    return folder / "bin"


def importable(commands: Path, cwd: Path) -> list[str]:
    script = f"from importlib.util import find_spec; print(*(name for name in {ABSENT} if find_spec(name)))"
    return run(commands / "python", "-c", script, cwd=cwd).split()


@pytest.mark.long
@pytest.mark.parametrize("extra", ["", "[s3]"])
def test_gitops_alone_is_small_and_does_its_work(lab: Lab, tmp_path: Path, extra: str) -> None:
    commands = install(tmp_path / "venv", f"./src/gitops{extra}")
    assert sum(file.lstat().st_size for file in (tmp_path / "venv").rglob("*")) < LIMIT
    checkout = lab.clone.path
    assert importable(commands, checkout) == []
    assert "promote" in run(commands / "gitops", "--help", cwd=checkout)
    found = run(commands / "gitops", "check", "--without-dvc-remote", cwd=checkout)
    assert "OK to merge " in found
    status = subprocess.run(
        [commands / "gitops", "status"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # Its status is 1, as no environment runs.
    assert (status.returncode, status.stderr) == (1, "")
    assert all(f"{environment} " in status.stdout for environment in ENVIRONMENTS)


@pytest.mark.long
def test_models_are_compared_with_neither_airflow_nor_pytorch(tmp_path: Path) -> None:
    commands = install(tmp_path / "venv", "./src/gitops[s3]", "./src/drawn_faces", "./src/face_attributes")
    assert not {"airflow", "evidently", "torch"} & set(importable(commands, tmp_path))
    (tmp_path / "new.onnx").write_bytes(colours.model([1, 0, 0, 1, 0, 0], -50))
    (tmp_path / "old.onnx").write_bytes(colours.model([1, 0, 0, 0, 0, 0], -50))
    colours.holdout(tmp_path / "holdout.parquet")
    options = [
        "--model",
        "new.onnx",
        "--incumbent",
        "old.onnx",
        "--holdout",
        "holdout.parquet",
        "--out",
        "out.json",
    ]
    run(commands / "python", "-m", "face_attributes", "compare", *options, cwd=tmp_path)
    comparison = parse((tmp_path / "out.json").read_bytes(), "out.json")
    assert comparison.model_sha256 == hashlib.sha256((tmp_path / "new.onnx").read_bytes()).hexdigest()


@pytest.mark.long
def test_documents_are_linted_with_the_libraries_of_documents_alone(tmp_path: Path) -> None:
    run("git", "clone", "--quiet", ROOT, tmp_path / "clone", cwd=tmp_path)
    clone = tmp_path / "clone"
    shutil.copy(ROOT / "Makefile", clone)
    commit(clone, "Write")
    with (clone / "docs/roadmap.md").open("a") as page:
        page.write("\nNews.\n")
    commit(clone, "Write news")
    run("make", "lint-documents", "BASE=HEAD^", cwd=clone)
    assert importable(clone / ".venv/bin", clone) == []
