"""Look at processes, and wait for what one is about to do."""

from collections.abc import Callable
from pathlib import Path

import psutil

from infra.local import waiting


def wait_for(check: Callable[[], object], seconds: float = 120, pause: float = 0.02) -> None:
    """Return when `check` is true; fail when it is not in time."""
    assert waiting.wait_until(lambda: bool(check()), seconds=seconds, pause=pause), "did not happen in time"


def alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended and was not reaped does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def working_in(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in a folder or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and alive(process):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # another user's process, or one that has just ended
    return found
