"""One command of the engine at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitops.private import private_folder
from infra.local.errors import BusyError


@contextmanager
def alone(path: Path, command: str) -> Iterator[None]:
    """Hold the lock file at `path` while `command` is at work.

    The folder of `path`, which is the engine's state, is closed to other users.

    The kernel lets go of the lock when the process ends, however it ends, so there is no stale lock.

    :raises BusyError: when another process holds it, saying which.
    """
    private_folder(path.parent)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another command"
            raise BusyError(
                f"{holder} is at work here; wait for it, or end it with Ctrl-C where it runs"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"{command} (process {os.getpid()})")
        file.flush()
        yield
