"""Alone: one command at a time in a folder."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from gitops.errors import GitopsError


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """Hold a folder for this process; the lock ends with the process, also if it is killed.

    Raises:
        GitopsError: Another command holds it.

    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise GitopsError(f"{folder}: another command works here; wait until it ends") from error
        yield
    finally:
        os.close(descriptor)
