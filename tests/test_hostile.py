"""`make test-hostile`: its HOME changes settings, and its tests reach all that runs git, DVC, pip or uv."""

import ast
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import hostile

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "infra", "dags", "scripts")
RUNNERS = {"subprocess", "git", "airflow.providers.git.bundles.git"}
"""The modules by which a module can run git, DVC, pip or uv."""

ELSEWHERE = {
    "src/gitops/dvc/run.py": "tests/gitops/training/test_stages.py",
    "src/gitops/dvc/commands.py": "tests/gitops/training/test_stages.py",
    "src/gitops/dvc/process.py": "tests/gitops/dvc/test_objects.py",
    "src/gitops/dvc/provenance_process.py": "tests/gitops/dvc/test_provenance.py",
    "src/gitops/git/command.py": "tests/gitops/git/test_repository.py",
    "src/gitops/git/config.py": "tests/gitops/git/test_repository.py",
    "src/gitops/git/process.py": "tests/gitops/git/test_repository.py",
}
"""Modules that are tested by the tests of others."""

OTHER_PROGRAMS = {
    "infra/airflow/clean.py": "airflow",
    "infra/airflow/prepare.py": "airflow",
    "infra/dag_smoke_test/sandbox.py": "airflow",
    "infra/local/cli.py": "gitops",
    "infra/local/database.py": "postgres",
    "infra/local/instance.py": "airflow",
    "infra/local/first_run.py": "face_attributes",
    "infra/local/supervisor.py": "supervisord",
    "infra/preview/compose.py": "docker",
    "infra/preview/host.py": "docker, kubectl",
    "src/gitops/cli/review.py": "make",
    "src/gitops/diff/manifests.py": "kubectl",
    "src/gitops/model/sample.py": "face_attributes",
    "src/gitops/people/process.py": "face_attributes",
    "src/gitops/people/retention.py": "rm",
}
"""Modules that run another program alone."""


def runners() -> set[str]:
    found: set[str] = set()
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            if RUNNERS & set(names):
                found.add(path.relative_to(ROOT).as_posix())
    return found


def test_each_place_that_runs_git_dvc_pip_or_uv_is_tried() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    listed = re.search(r"^HOSTILE := (.*)$", makefile, re.MULTILINE)
    assert listed
    selection = [Path(path) for path in listed[1].split()]
    assert [path for path in selection if not (ROOT / path).exists()] == []
    found = runners()
    assert found >= {*ELSEWHERE, *OTHER_PROGRAMS}, "a line for a module that runs nothing any more"
    missing = []
    for module in sorted(found - set(OTHER_PROGRAMS)):
        path = Path(module.removeprefix("src/"))
        test = Path(ELSEWHERE.get(module, f"tests/{path.parent}/test_{path.name}"))
        if not (ROOT / test).is_file() or not any(test.is_relative_to(part) for part in selection):
            missing.append(f"{module}: {test}")
    assert missing == []


def test_its_home_changes_the_settings_of_a_person(tmp_path: Path) -> None:
    set_by_it = {"log.showsignature": "true", "merge.ff": "only", "init.defaultbranch": "trunk"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        for name in ("GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME"):
            patch.delenv(name, raising=False)
        assert hostile.prepare(patch, tmp_path, "a test") in hostile.UMASKS
        for key, value in set_by_it.items():
            done = subprocess.run(
                ["git", "config", "--global", key], capture_output=True, text=True, timeout=60, check=True
            )
            assert done.stdout.strip() == value
        assert os.environ["TZ"] == hostile.TIME_ZONE
    time.tzset()
    assert (tmp_path / "their" / "ignore").read_text().startswith("*\n")
