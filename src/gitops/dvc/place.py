"""The place of a DVC remote: its objects, by their digests. Only processes of DVC import this at work."""

# DVC has no types.
# pyright: reportMissingTypeStubs=false

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from gitops.errors import StorageError

_OBJECT = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}(?:\.dir)?")


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
        self.root = root
        self.files = kind(**options)
        self.base = self.files.join(root, "files", "md5")

    def digests(self) -> Iterator[str]:
        yield from self.sizes()

    def sizes(self) -> dict[str, int]:
        """Return the digest of each object, and its size in bytes."""
        if self.local and not Path(self.root).is_dir():
            raise StorageError(f"{self.root}: no such folder")  # One that is not mounted looks empty.
        if not self.files.exists(self.base):
            return {}
        found: dict[str, int] = {}
        if self.local:
            listed = {path: Path(path).stat().st_size for path in self.files.find(self.base)}
        else:
            about = self.files.fs.find(self.base, detail=True)
            listed = {path: int(entry.get("size") or 0) for path, entry in about.items()}
        for path, size in listed.items():
            *_, folder, name = path.replace(os.sep, "/").split("/")
            if _OBJECT.fullmatch(f"{folder}/{name}"):
                found[f"{folder}{name}"] = size
        return found

    def get(self, digest: str, file: Path) -> bool:
        """Copy an object to a file; return whether it is there and has its digest."""
        try:
            self.files.get_file(self.path(digest), str(file))
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

    def path(self, digest: str) -> str:
        return str(self.files.join(self.base, digest[:2], digest[2:]))
