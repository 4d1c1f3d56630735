"""What every test shares: a home of its own, and nothing of the machine's settings."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

# A test must not see, let alone use, the engine that its author has up, nor their git and DVC settings.
FOREIGN = (
    "AIRFLOW",
    "CELEBA_DIR",
    "DVC_",
    "GIT_",
    "GITHUB_",
    "GITOPS_",
    "NOTIFY_",
    "TASK_",
    "VISAGE_",
    "ACTIVE_DAGS",
    "XDG_",
)


@pytest.fixture(autouse=True)
def isolated_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an empty HOME, a git that knows no user, and none of this machine's variables."""
    home = tmp_path_factory.mktemp("home")
    for name in os.environ:
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(home / "dvc"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(home / "dvc-system"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(home / "dvc-site-cache"))
    return home


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail, rather than skip, a test whose system package is not there: what did not run must show."""
    for marker in item.iter_markers("system"):
        if missing := [command for command in marker.args if shutil.which(command) is None]:
            pytest.fail(f"not installed: {', '.join(missing)}; run make system-packages", pytrace=False)


_not_run: list[str] = []


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Remember what the markers left out."""
    _not_run.extend(item.nodeid for item in items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what did not run."""
    if _not_run:
        terminalreporter.section(f"{len(_not_run)} tests did not run here; make test-all runs them")
        for name in sorted(_not_run):
            terminalreporter.line(name)
