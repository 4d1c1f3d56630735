"""The place of a DVC remote: its objects, by their digests. Only processes of DVC import this at work."""

# DVC has no types.
# pyright: reportMissingTypeStubs=false

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

from gitops.errors import StorageError

LEVELS = ("local", "repo", "global", "system")
"""The configurations of DVC, the strongest first."""

_OBJECT = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}(?:\.dir)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated")
"""The names that storages have for the time of the last change."""


def configuration(folder: Path, *, former: bool = False) -> Any:
    """Return the configuration of DVC that names the present remote.

    A remote that `DVC_GLOBAL_CONFIG_DIR` names comes before the one that the files in `.dvc/` name, unless
    there is a `config.local`.

    Args:
        folder: The folder with `.dvc/`.
        former: Let the files in `.dvc/` count in any case.

    """
    from dvc.config import Config

    settings = folder / ".dvc"
    config: Any = Config(dvc_dir=None)
    ruled = "DVC_GLOBAL_CONFIG_DIR" in os.environ and "remote" in config["core"]
    if settings.is_dir() and (former or not ruled or (settings / "config.local").is_file()):
        config = Config(dvc_dir=str(settings))
    return config


def level(config: Any) -> str | None:
    """Return the configuration of DVC that names the present remote, as DVC calls it."""
    levels = [level for level in LEVELS if level in config.files]
    return next((level for level in levels if config.load_one(level)["core"].get("remote")), None)


def folder_problem(config: Any, name: str, root: str) -> str:
    """Return why the folder `root` of the remote `name` cannot be used; "" if it can."""
    from dvc.config_schema import RelPath

    whole = f"name the whole path: dvc remote modify {name} url /PATH"
    if root.startswith("file:"):
        return f"{root}: DVC takes an address with file: as a folder of the checkout; {whole}"
    if Path(root).is_dir():
        return ""  # One that is not mounted looks empty.
    if isinstance(config["remote"][name]["url"], RelPath):
        return (
            f"{root}: no such folder; the address is relative, and each checkout has another place; {whole}"
        )
    return f"{root}: no such folder"


class Place:
    """The objects of one DVC remote."""

    def __init__(self, config: Any, name: str) -> None:
        from dvc.fs import get_cloud_fs  # pyright: ignore[reportUnknownVariableType]

        if name not in config["remote"]:
            known = ", ".join(config["remote"]) or "none"
            raise StorageError(
                f"no DVC remote {name} (there are: {known}); make it: dvc remote add {name} URL"
            )
        kind, options, root = cast(tuple[Any, dict[str, Any], str], get_cloud_fs(config, name=name))
        if options.get("worktree") or options.get("version_aware"):
            raise StorageError(f"remote {name} keeps versions of the cloud, and not objects by digest")
        self.url = str(config["remote"][name]["url"])
        self.local = kind.protocol == "local"
        self._problem = partial(folder_problem, config, name, root)
        if root.startswith("file:"):
            raise StorageError(self._problem())
        self.files = kind(**options)
        self.base = self.files.join(root, "files", "md5")
        self.trash = self.files.join(root, "files", "trash")

    def digests(self) -> Iterator[str]:
        yield from self.sizes()

    def sizes(self) -> dict[str, int]:
        """Return the digest of each object, and its size in bytes."""
        return {digest: size for digest, (size, _) in self.listed().items()}

    def listed(self) -> dict[str, tuple[int, float | None]]:
        """Return the digest of each object, its size, and the time of its last change if known."""
        if self.local and (problem := self._problem()):
            raise StorageError(problem)
        return {
            f"{folder}{name}": about
            for path, about in self._find(self.base)
            for folder, name in [path.split("/")[-2:]]
            if _OBJECT.fullmatch(f"{folder}/{name}")
        }

    def _find(self, folder: str) -> Iterator[tuple[str, tuple[int, float | None]]]:
        if not self.files.exists(folder):
            return
        if self.local:
            for path in self.files.find(folder):
                about = Path(path).stat()
                yield path.replace(os.sep, "/"), (about.st_size, about.st_mtime)
            return
        for path, entry in self.files.fs.find(folder, detail=True).items():
            yield path, (int(entry.get("size") or 0), _moment(entry))

    def get(self, digest: str, file: Path, *, day: str = "") -> bool:
        """Copy an object, or one in the trash of a day, to a file; return whether it is there and whole."""
        path = self._discarded(digest, day) if day else self.path(digest)
        try:
            self.files.get_file(path, str(file))
        except FileNotFoundError:
            return False
        with file.open("rb") as content:
            md5 = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        return md5 == digest.removesuffix(".dir")

    def put(self, file: Path, digest: str) -> None:
        path = self.path(digest)
        self.files.makedirs(self.files.parent(path))
        self.files.put_file(str(file), path)

    def has(self, digest: str) -> bool:
        return bool(self.files.exists(self.path(digest)))

    def remove(self, digest: str) -> None:
        """Remove an object, if it is there."""
        try:
            self.files.remove(self.path(digest))
        except FileNotFoundError:
            return

    def discard(self, digest: str, day: str) -> None:
        """Move an object to the trash of a day (YYYY-MM-DD), if it is there. `dvc` sees no trash."""
        there = self._discarded(digest, day)
        try:
            self.files.makedirs(self.files.parent(there))
            self.files.mv(self.path(digest), there)
        except FileNotFoundError:
            return

    def discarded(self) -> dict[str, tuple[str, int]]:
        """Return the digest of each object in the trash, the latest day of it, and its size."""
        found: dict[str, tuple[str, int]] = {}
        for path, (size, _) in sorted(self._find(self.trash)):
            *_, day, folder, name = path.split("/")
            if _DAY.fullmatch(day) and _OBJECT.fullmatch(f"{folder}/{name}"):
                found[f"{folder}{name}"] = (day, size)
        return found

    def _discarded(self, digest: str, day: str) -> str:
        return str(self.files.join(self.trash, day, digest[:2], digest[2:]))

    def recover(self, digest: str, day: str, file: Path) -> bool:
        """Put an object back that the trash of a day has, by way of a file; return whether it is whole."""
        if not self.get(digest, file, day=day):
            return False
        self.put(file, digest)
        return True

    def purge(self, before: str) -> int:
        """Remove the trash of the days before a day; return the number of its objects."""
        days = {path: path.split("/")[-3] for path, _ in self._find(self.trash)}
        old = [path for path, day in days.items() if _DAY.fullmatch(day) and day < before]
        for path in old:
            try:
                self.files.remove(path)
            except FileNotFoundError:
                continue  # another one removes it too
        return len(old)

    def path(self, digest: str) -> str:
        return str(self.files.join(self.base, digest[:2], digest[2:]))


def _moment(entry: Mapping[str, Any]) -> float | None:
    """Return the time of the last change; None if it is not known."""
    for name in _TIMES:
        value = entry.get(name)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, datetime):
            # Storages that name no zone count in UTC
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return None


def _problem() -> str:
    """Return why the remote of the checkout in this folder cannot be used; "" if it can."""
    from dvc.config import Config
    from dvc.fs import get_cloud_fs  # pyright: ignore[reportUnknownVariableType]

    config: Any = Config(dvc_dir=".dvc")
    if (name := config["core"].get("remote")) is None:
        return "none is configured; make one: dvc remote add --default NAME URL"
    kind, options, root = cast(tuple[Any, dict[str, Any], str], get_cloud_fs(config, name=name))
    if kind.protocol == "local":
        return folder_problem(config, name, root)
    kind(**options).exists(root)  # An object store has no folders, so only an error counts.
    return ""


if __name__ == "__main__":
    sys.exit(_problem() or 0)
