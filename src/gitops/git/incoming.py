"""The room that a fetch may take. Whoever may push a branch must not fill the disks of those who fetch.

Git has such a limit for the receiving side of a push (`receive.maxInputSize`), and none for a fetch. Here the
system refuses to make a file larger (`ulimit -f`).
"""

import fcntl
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

MOST = 1024**3
"""The bytes of the largest fetch. A whole clone is not a fetch."""

_LOCK = "gitops-fetch"
_BLOCK = 512
# Without the signal, git prints why it ends.
_LIMITED = 'trap "" XFSZ && ulimit -f "$0" && exec git "$@"'


def command(args: Sequence[str], most: int | None) -> list[str]:
    """Return the command of git. With `most`, no file that it writes can be larger."""
    if most is None:
        return ["git", *args]
    # Git then writes everything as one pack. Each of many single files could be as large.
    options = ("-c", "fetch.unpackLimit=1", "-c", "transfer.unpackLimit=1")
    return ["sh", "-c", _LIMITED, str(max(most // _BLOCK, 1)), *options, *args]


@contextmanager
def room(folder: Path, most: int) -> Generator[int]:
    """Provide the bytes that a fetch into a repository may take: at most half of the room on its disk.

    A fetch that ends too early leaves a part. In a bare repository, which `gitops` has for itself, the
    next one deletes that. A checkout belongs to a person, who may fetch at the same time, and whose git
    deletes it in two weeks.
    """
    if not folder.is_dir():
        yield most  # git itself fails with the reason
        return
    if not (folder / "objects").is_dir():
        yield min(most, shutil.disk_usage(folder).free // 2)
        return
    with (folder / _LOCK).open("ab") as lock:
        if os.fstat(lock.fileno()).st_size and _is_alone(lock):
            _sweep(folder / "objects")
            lock.truncate(0)
        fcntl.flock(lock, fcntl.LOCK_SH)
        lock.write(b".")
        lock.flush()
        yield min(most, shutil.disk_usage(folder).free // 2)
        # A fetch that failed leaves the mark: there is a part to delete.
        if _is_alone(lock):
            lock.truncate(0)


def size(repository: Path) -> int:
    """Return the bytes of the objects of a bare repository; 0 where there is none.

    Without those of a fetch that ended too early, which the next one deletes.
    """
    found = 0
    for file in (repository / "objects").rglob("*"):
        if file.name.startswith("tmp_"):
            continue
        with suppress(FileNotFoundError):  # another process has just packed it
            found += file.lstat().st_size
    return found


def _is_alone(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(objects: Path) -> None:
    for pattern in ("pack/tmp_*", "??/tmp_obj_*"):
        for file in objects.glob(pattern):
            file.unlink(missing_ok=True)
