"""One command of the engine at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitops.private import private_folder
from infra.local.errors import BusyError


@contextmanager
def exclusive(path: Path, command: str) -> Iterator[None]:
    """Hold the lock file at `path` while `command` runs.

    The folder of `path`, which is the engine's state, is closed to other users.

    The kernel releases the lock when the process ends, so there is no stale lock.

    Raises:
        BusyError: Another process holds the lock. The message names it.

    """
    private_folder(path.parent)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another command"
            raise BusyError(
                f"{holder} is running here; wait for it, or end it with Ctrl-C in its terminal"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"{command} (process {os.getpid()})")
        file.flush()
        yield
