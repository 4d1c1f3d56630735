"""A checkout to run the engine from, and processes that a test may leave to its end."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gitops.git.repository import Repository
from infra.local.layout import Layout
from infra.local.process import Service, belonging, end

ROOT = Path(__file__).parents[3]

PATIENT = "import time; time.sleep(600)"


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A checkout with one commit: the settings of this repository, and a DAG folder."""
    layout = Layout(make_checkout(tmp_path / "checkout"))
    yield layout
    end(belonging(layout.state), grace=0)


def make_checkout(path: Path) -> Path:
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


@pytest.fixture
def service(layout: Layout) -> Callable[[str], Service]:
    """Make services of the checkout by name."""

    def make(name: str) -> Service:
        flat = name.replace("/", "-")
        return Service(name, layout.state, layout.records / f"{flat}.json", layout.logs / f"{flat}.log")

    return make


@pytest.fixture
def start(layout: Layout) -> Callable[..., psutil.Process]:
    """Start a Python program as a service."""
    layout.state.mkdir(parents=True, exist_ok=True)

    def run(service: Service, code: str = PATIENT) -> psutil.Process:
        return service.start([sys.executable, "-c", code], {}, layout.state)

    return run
