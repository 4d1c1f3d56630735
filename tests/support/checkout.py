"""Small checkouts, each with the settings of this repository."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from gitops.git.repository import Repository

ROOT = Path(__file__).resolve().parents[2]


def with_dags(folder: Path, dags: Mapping[str, str]) -> Path:
    """Make one with the helpers of the DAGs and with `dags` (file name -> content), in one commit."""
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


def make_checkout(path: Path) -> Path:
    """Make one to run the engine from."""
    path.mkdir()
    repository = Repository(path)
    repository.git("init", "--quiet", "--initial-branch=main", ".")
    shutil.copytree(ROOT / "environments", path / "environments")
    shutil.copy(ROOT / ".gitignore", path)
    (path / "dags").mkdir()
    (path / "dags" / "example.py").write_text("")
    (path / "params.yaml").write_text("data:\n  source: synthetic\n  synthetic: {count: 10, seed: 1}\n")
    commit(path, "First")
    return path


def commit(path: Path, message: str) -> str:
    """Commit all files of a checkout and return the commit."""
    repository = Repository(path)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--allow-empty", "-m", message, env=repository.identity())
    return repository.resolve("HEAD")
