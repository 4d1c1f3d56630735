"""Atomic writes: files are written beside their target and then renamed, so nobody reads half a file."""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from face_attributes.common.errors import FileError

_CHUNK = 1 << 20
_CAREFULLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened that somebody else put there: a link is not followed, and a pipe does not wait."""


def read_regular(path: Path, largest: int) -> bytes:
    """Return the content of a regular file that somebody else put there.

    Raises:
        FileError: it is a link, a pipe, a device or a folder, or larger than `largest` bytes.
        OSError: it cannot be opened or read.

    """
    try:
        descriptor = os.open(path, _CAREFULLY)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileError("a link, not a file") from None
        if error.errno == errno.ENXIO:  # a socket, or a device that is not there
            raise FileError("not a regular file") from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileError("not a regular file")
        content = None
        if status.st_size <= largest:
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(largest + 1)  # a file may grow while it is read
            if content is None:  # a file of the kernel that waits for something
                raise FileError("not a regular file")
        if content is None or len(content) > largest:
            raise FileError(f"larger than {largest >> 20} MiB")
    finally:
        os.close(descriptor)
    return content


def move(path: Path, target: Path) -> None:
    """Move a file that somebody else made, and never read a link's target, a pipe or a device."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # To another file system: a copy, of a link a link. There is nothing to copy in a pipe.
        if path.is_symlink() or path.is_file():
            shutil.move(path, target)
        else:
            path.unlink()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. It replaces `path`, or is removed if the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`. It replaces `path`, or is removed if the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with Unix line ends, atomically."""
    with replacing(path) as partial:
        partial.write_bytes(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON that ends with a newline, atomically. NaN is refused, because JSON has no NaN."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits, reading it in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON-like value, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
