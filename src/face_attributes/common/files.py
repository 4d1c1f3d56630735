"""Atomic writes: files are written beside their target and then renamed, so nobody reads half a file."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from face_attributes.common.errors import FileError

_CHUNK = 1 << 20
_PARTIAL = ".partial"
_LONGEST_NAME = 200
_LONGEST_FILE_NAME = 255
"""Bytes, which file systems have room for."""
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


def below(folder: Path, onerror: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield all entries below a folder that are no folders, however deep they lie. Links are not followed.

    Args:
        folder: The folder.
        onerror: Called for each folder that cannot be read.

    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    path = place / entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    else:
                        yield path
        except OSError as error:
            onerror(error)


def printable(name: str) -> str:
    """Return the name of a file that somebody else chose as one line of text that UTF-8 can hold.

    A file name is bytes, and Python marks those that are not UTF-8. Such a byte, and a character that a
    terminal would obey, are written as escapes.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def is_text(name: str) -> bool:
    """Return whether the name of a file is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def free_name(path: Path, taken: Path | None = None) -> Path:
    """Return `path`, or `<name>~2` and so on beside it where a file is there, or it is the path `taken`."""
    target, number = path, 2
    while os.path.lexists(target) or target == taken:
        suffix = f"~{number}"
        name = os.fsdecode(os.fsencode(path.name)[: _LONGEST_FILE_NAME - len(suffix)])
        target, number = path.with_name(name + suffix), number + 1
    return target


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


def check_output(path: Path, inputs: Mapping[str, Path], is_ours: Callable[[Path], bool]) -> None:
    """Refuse a place for results where something else is, before any work.

    Args:
        path: The file to write.
        inputs: The files and folders that are read, by their names in errors.
        is_ours: Whether a regular file that is there was written by an earlier run of the same command.

    Raises:
        FileError: it is a device, a link, a folder or an input, or not the result of an earlier run.

    """
    for name, given in inputs.items():
        if path.exists() and given.exists() and path.samefile(given):
            raise FileError(f"{path}: is {name}, which would be overwritten; name another file")
    if not os.path.lexists(path):
        return
    if path.is_symlink():
        raise FileError(f"{path}: a link; name the file itself, or remove the link")
    if not path.is_file():
        raise FileError(f"{path}: {'a folder' if path.is_dir() else 'not a regular file'}; name a file")
    if path.stat().st_size and not is_ours(path):
        raise FileError(f"{path}: holds something else, which is kept; name another file, or remove it")


@contextmanager
def replacing(path: Path, *, swept: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`. It replaces `path`, or is removed if the block fails.

    Those that a killed process left for this `path` are removed first, unless the folder is `swept`: in a
    folder of many files it takes long to look for them each time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path) and not (path.is_symlink() or path.is_file() or path.is_dir()):
        raise FileError(f"{path}: not a regular file; it is not replaced")
    if not swept:
        sweep(path.parent, _prefix(path))
    with _partial(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as partial:
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`. It replaces `path`, or is removed if the block fails.

    Those that a killed process left for this `path` are removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, _prefix(path))
    with _partial(path, os.O_RDONLY | os.O_DIRECTORY) as partial:
        try:
            yield partial
            if path.exists():
                shutil.rmtree(path)
            partial.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _prefix(path: Path) -> str:
    """Return the beginning of the names of temporary paths: a name of 255 bytes leaves no room for more."""
    encoded = os.fsencode(path.name)
    short = encoded.decode("utf-8", "ignore") if len(encoded) <= _LONGEST_NAME else ""
    return f".{short or hashlib.sha256(encoded).hexdigest()[:16]}."


@contextmanager
def _partial(path: Path, flags: int) -> Iterator[Path]:
    """Make a temporary file or folder beside `path` and mark it as in use.

    The mark is a lock: the kernel lets go of it when the process ends, however it ends.
    """
    while True:
        partial = path.with_name(f"{_prefix(path)}{secrets.token_hex(4)}{_PARTIAL}")
        if flags & os.O_DIRECTORY:
            partial.mkdir()
        descriptor = os.open(partial, flags | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if partial.exists():  # otherwise another process swept it before it was locked
                yield partial
                return
        finally:
            os.close(descriptor)


def sweep(folder: Path, prefix: str = ".") -> None:
    """Remove the temporary paths in a folder that no living process has a lock on."""
    for name in folder.glob(f"{glob.escape(prefix)}*{_PARTIAL}"):
        if name.is_symlink():
            continue
        try:
            descriptor = os.open(name, _CAREFULLY)
        except OSError:
            continue  # another process has just finished or removed it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if name.is_dir():
                shutil.rmtree(name, ignore_errors=True)
            else:
                name.unlink(missing_ok=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Keep temporary files of this process and of its children in a folder that is removed at the end.

    Folders of earlier processes of this user that were killed are removed first.
    """
    name = Path(tempfile.gettempdir()) / f"visage-{os.getuid()}"
    sweep(name.parent, _prefix(name))
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    with _partial(name, os.O_RDONLY | os.O_DIRECTORY) as folder:
        try:
            folder.chmod(0o700)
            tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
            yield
        finally:
            tempfile.tempdir = before[0]
            if before[1] is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before[1]
            shutil.rmtree(folder, ignore_errors=True)


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
