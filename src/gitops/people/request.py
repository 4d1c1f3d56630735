"""The request of a `forget`: photographs, by their ids or as files, and the places to look into."""

import errno
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gitops.errors import GitopsError, ParseError
from gitops.text import parse

_LARGEST = 16 << 20
_HEADERS = frozenset({"id", "image_id"})
_MARK = "\ufeff"
"""Some editors begin a text file with it."""


@dataclass(frozen=True)
class Request:
    """The photographs to forget, and the places.

    Attributes:
        lines: The lines of the file. They name the request: a photograph that is a file here may be removed
            by a forget that is killed, and no longer be one when it runs again.
        ids: Ids of photographs; `<environment>:<id>` is one of that environment alone.
        pictures: Files of photographs.
        homes: The data folder of each environment.
        caches: Caches of DVC.
        backups: Folders of backups.

    """

    lines: tuple[str, ...]
    ids: tuple[str, ...]
    pictures: tuple[Path, ...]
    homes: Mapping[str, Path]
    caches: tuple[Path, ...] = ()
    backups: tuple[Path, ...] = ()

    @classmethod
    def read(
        cls,
        file: Path,
        homes: Mapping[str, Path],
        caches: tuple[Path, ...] = (),
        backups: tuple[Path, ...] = (),
    ) -> Self:
        """Read the file of ids and photographs.

        Raises:
            GitopsError: It cannot be read, has no line, or a line is neither an id nor a photograph.

        """
        try:
            # Not by a link or a pipe: the same file is read again after a kill
            text = parse.file(file.resolve(), _LARGEST).decode("utf-8")
        except UnicodeDecodeError as error:
            raise GitopsError(f"{file}: not UTF-8 text, at byte {error.start}; save it as UTF-8") from error
        except ParseError as error:
            raise GitopsError(f"{file}: {error}; split it, and forget each part") from error
        except OSError as error:
            problem = f"{file}: cannot be read: {error.strerror}; write a photograph on each line"
            raise GitopsError(problem, command=f"echo PHOTOGRAPH >> {shlex.quote(str(file))}") from error
        lines = tuple(_lines(text))
        if not lines:
            raise GitopsError(f"{file}: no id and no photograph to forget; write one on each line")
        paths = {line: _picture(line) for line in lines}
        ids = tuple(line for line in lines if paths[line] is None)
        for name in ids:
            if name in _HEADERS or name.isdigit():
                raise GitopsError(f"{file}: {name!r} is no id of a photograph; remove that line")
        pictures = tuple(path for path in paths.values() if path is not None)
        return cls(lines, ids, pictures, homes, caches, backups)


def _lines(text: str) -> Iterator[str]:
    for line in text.removeprefix(_MARK).split("\n"):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield stripped


def _picture(line: str) -> Path | None:
    """Return the photograph that a line names as a file here; None for an id."""
    path = Path(line)
    try:
        path = path.expanduser()
    except RuntimeError:
        return None  # an id that begins with a tilde
    try:
        return path if path.is_file() else None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise GitopsError(f"{path}: cannot be read: {error.strerror}") from error
