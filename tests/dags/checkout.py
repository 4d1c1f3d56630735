"""A small checkout: the settings and the helpers of the DAGs, and DAG files of a test's own."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from gitops.git.repository import Repository

ROOT = Path(__file__).resolve().parents[2]


def make(folder: Path, dags: Mapping[str, str]) -> Path:
    """Make it, with `dags` (file name -> content), as a repository with one commit."""
    for name in ("environments", "dags/visage_dags"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dags/.airflowignore", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    for name, content in dags.items():
        (folder / "dags" / name).write_text(content)
    repository = Repository(folder)
    repository.git("init", "--quiet", "--initial-branch=main", "--template=", ".")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "-m", "First", env=repository.identity())
    return folder
