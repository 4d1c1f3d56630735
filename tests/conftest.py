"""What every test shares: a home of its own, and nothing of the machine's settings."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from xdist.workermanage import WorkerController

import gitops
from tests.support import hostile
from tests.support.once import once

# How long an example takes says more of the machine's load than of the code.
settings.register_profile(
    "patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

if TYPE_CHECKING:
    from tests.support.trained import Trained

# A test must not see, let alone use, the engine that its author has up, nor their git and DVC settings.
FOREIGN = (
    "AIRFLOW",
    "CELEBA_DIR",
    "DVC_",
    "GIT_",
    "GITHUB_",
    "GITOPS_",
    "MAKE",
    "MFLAGS",
    "NOTIFY_",
    "TASK_",
    "VISAGE_",
    "ACTIVE_DAGS",
    "XDG_",
)


def pytest_configure(config: pytest.Config) -> None:
    """Give a home to modules as they are loaded, and to what tests share: Airflow makes folders there."""
    own = config.rootpath / "src/gitops"
    if own.is_dir() and not own.samefile(Path(gitops.__file__).parent):
        raise pytest.UsageError(
            f"this is the .venv of {Path(gitops.__file__).parents[2]}; run make setup here"
        )
    folder = tempfile.TemporaryDirectory(prefix="visage-tests-", ignore_cleanup_errors=True)
    patch = pytest.MonkeyPatch()
    isolate(patch, Path(folder.name))
    # Make and an activation put this folder on PATH; .venv/bin/python alone does not.
    patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    config.add_cleanup(folder.cleanup)
    config.add_cleanup(patch.undo)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tests' homes: pytest lists all that it made before it makes another."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def isolated_home(
    request: pytest.FixtureRequest, homes: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Give the test an empty HOME, a git that knows no user, and none of this machine's variables.

    Under `make test-hostile` the HOME is full of settings instead.
    """
    home = Path(tempfile.mkdtemp(dir=homes))
    isolate(monkeypatch, home)
    if not hostile.is_asked_for():
        yield home
        return
    before = os.umask(hostile.prepare(monkeypatch, home, request.node.nodeid))
    try:
        yield home
    finally:
        os.umask(before)


@pytest.fixture(scope="session")
def templates() -> dict[tuple[object, ...], Path]:
    """The folder that each call of `made_once` made, by its arguments."""
    return {}


@pytest.fixture
def made_once(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, templates: dict[tuple[object, ...], Path]
) -> Callable[..., None]:
    """Return a function that fills the test's folder as `make(folder, *arguments)` does.

    It calls `make` once for all tests, and copies what that left for the others: to begin a repository with
    DVC and push to it takes seconds.
    """

    def fill(make: Callable[..., None], *arguments: str) -> None:
        key = (make, *arguments)
        if key in templates:
            shutil.copytree(templates[key], tmp_path, symlinks=True, dirs_exist_ok=True)
            return
        make(tmp_path, *arguments)
        template = tmp_path_factory.mktemp("template")
        shutil.copytree(tmp_path, template, symlinks=True, dirs_exist_ok=True)
        templates[key] = template

    return fill


def isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in os.environ:
        if name.startswith(FOREIGN):
            patch.delenv(name)
    patch.setenv("HOME", str(home))
    patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    patch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    patch.setenv("DVC_NO_ANALYTICS", "1")
    patch.setenv("DVC_GLOBAL_CONFIG_DIR", str(home / "dvc"))
    patch.setenv("DVC_SYSTEM_CONFIG_DIR", str(home / "dvc-system"))
    patch.setenv("DVC_SITE_CACHE_DIR", str(home / "dvc-site-cache"))


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> "Trained":
    """Train a model, once for all tests of all workers (a minute on two cores); no test may change it."""
    from tests.support.trained import Trained, train

    return Trained(once(tmp_path_factory, "trained", train))


@pytest.fixture
def trained(trained_once: "Trained", tmp_path: Path) -> "Trained":
    """A checkout and an origin with a candidate, for one test to change."""
    return trained_once.copy(tmp_path / "trained")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare Python's collector the million objects of the loaded modules, which live to the end."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail, rather than skip, a test whose system package is not there: what did not run must show."""
    for marker in item.iter_markers("system"):
        if missing := [command for command in marker.args if shutil.which(command) is None]:
            pytest.fail(f"not installed: {', '.join(missing)}; run make system-packages", pytrace=False)


_not_run: set[str] = set()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Remember what the markers left out."""
    _not_run.update(item.nodeid for item in items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what the markers left out, where this is one of several workers."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["not_run"] = sorted(_not_run)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """Take over what the markers left out in a worker that ends."""
    _not_run.update(getattr(node, "workeroutput", {}).get("not_run", ()))  # one that crashed has none


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what did not run."""
    if _not_run:
        terminalreporter.section(f"{len(_not_run)} tests did not run here; make test-all runs them")
        for name in sorted(_not_run):
            terminalreporter.line(name)
