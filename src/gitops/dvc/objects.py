"""The objects of the DVC remotes that a checkout names, by their digests, and the trash of a remote.

DVC runs in a process of its own, as it is heavy to import (`python -I -m gitops.dvc.objects`).
"""

# DVC has no types.
# pyright: reportMissingTypeStubs=false

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops.dvc import process
from gitops.dvc.place import Place, configuration
from gitops.errors import StorageError

_PATH = ("files", "md5")
_EVER = "9999-12-31"


@dataclass(frozen=True)
class Stored:
    """An object: its digest, its size in bytes, and the time of its last change if it is known."""

    digest: str
    size: int
    at: float | None


@dataclass(frozen=True)
class Discarded:
    """An object in the trash: its digest, the day (YYYY-MM-DD) on which it got there, and its size."""

    digest: str
    day: str
    size: int


@dataclass(frozen=True)
class Store:
    """The default remote.

    Attributes:
        name: Its name.
        cache: The cache that the settings of DVC name; None where they leave it in each checkout.
        objects: Its objects.
        trash: Those of its trash.
        folders: The objects that are folders and whole, in the trash too, each with the objects of its files.

    """

    name: str
    cache: Path | None
    objects: tuple[Stored, ...]
    trash: tuple[Discarded, ...]
    folders: Mapping[str, frozenset[str]]


class Objects:
    """The objects of every DVC remote that the configuration of a checkout names.

    Args:
        checkout: The folder whose `.dvc/` names the remotes; the user's own DVC settings count too.

    """

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout

    def sizes(self) -> dict[str, dict[str, int]]:
        """Return for each remote, by name, the digests of its objects with their sizes in bytes.

        Raises:
            StorageError: if a remote does not answer.

        """
        return self._ask({"do": "sizes"})

    def fetch(self, digests: Mapping[str, Iterable[str]], folder: Path) -> dict[str, Path]:
        """Return a file for each object: that of the remote if it is a folder here, else a copy in `folder`.

        Args:
            digests: The digests to fetch, by the name of a remote that has them.
            folder: The folder for copies.

        """
        wanted = {name: sorted(some) for name, some in digests.items()}
        answer = self._ask({"do": "fetch", "digests": wanted, "folder": str(folder)})
        return {digest: Path(path) for digest, path in answer.items()}

    def remove(self, digests: Iterable[str]) -> int:
        """Remove objects from every remote, and return how many were there."""
        return self._ask({"do": "remove", "digests": sorted(set(digests))})["removed"]

    def put(self, files: Mapping[str, Path], remote: str) -> None:
        """Copy files to a remote, as objects of these digests."""
        self._ask({"do": "put", "files": {key: str(path) for key, path in files.items()}, "remote": remote})

    def damaged(self, digests: Iterable[str], remote: str, folder: Path) -> tuple[str, ...]:
        """Return the objects of a remote whose bytes are not those of their digests, reading each."""
        question = {"do": "damaged", "digests": sorted(digests), "remote": remote, "folder": str(folder)}
        return tuple(self._ask(question)["damaged"])

    def store(self) -> "Store":
        """Return the objects of the default remote, those of its trash, and the files of its folders.

        Raises:
            StorageError: if there is none, or it does not answer.

        """
        found = self._ask({"do": "store"})
        objects = (Stored(digest, size, at) for digest, (size, at) in found["objects"].items())
        trash = (Discarded(digest, day, size) for digest, (day, size) in found["trash"].items())
        cache = Path(found["cache"]) if found["cache"] else None
        folders = {digest: frozenset(files) for digest, files in found["folders"].items()}
        return Store(found["name"], cache, tuple(objects), tuple(trash), folders)

    def discard(self, digests: Iterable[str], day: str) -> None:
        """Move objects of the default remote to its trash of a day, where `dvc` does not see them."""
        # A folder before its files: DVC takes the files of a folder that is there for granted
        ordered = sorted(digests, key=lambda digest: (not digest.endswith(".dir"), digest))
        self._ask({"do": "discard", "digests": ordered, "day": day})

    def recover(self, trash: Iterable["Discarded"]) -> tuple[str, ...]:
        """Put objects back from the trash of the default remote; return those that are damaged there."""
        ordered = sorted(trash, key=lambda entry: (entry.digest.endswith(".dir"), entry.digest))
        return tuple(
            self._ask({"do": "recover", "days": {one.digest: one.day for one in ordered}})["damaged"]
        )

    def purge(self, before: str) -> int:
        """Remove the trash of the default remote of the days before a day; return how many objects it had."""
        return self._ask({"do": "purge", "before": before})["removed"]

    def read(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Return the objects of the default remote whose bytes are not those of their digests."""
        return tuple(self._ask({"do": "read", "digests": sorted(digests)})["damaged"])

    def repair(self, files: Mapping[str, Path]) -> tuple[str, ...]:
        """Copy files to the default remote, read them again, and return those that did not arrive whole."""
        ordered = sorted(files, key=lambda digest: (digest.endswith(".dir"), digest))
        question = {"do": "repair", "files": {digest: str(files[digest]) for digest in ordered}}
        return tuple(self._ask(question)["damaged"])

    def empty_trash(self) -> int:
        """Remove the trash of every remote; return the number of its objects."""
        return self._ask({"do": "empty"})["removed"]

    def _ask(self, question: Mapping[str, Any]) -> Any:
        return process.ask("gitops.dvc.objects", {"checkout": str(self.checkout), **question})


def in_folder(folder: Path) -> dict[str, Path]:
    """Return the objects of a cache of DVC, or of a remote in a folder, by their digests."""
    found: dict[str, Path] = {}
    for path in folder.joinpath(*_PATH).glob("??/*"):
        if path.is_file() and not path.is_symlink():
            found[f"{path.parent.name}{path.name}"] = path
    return found


def members(path: Path) -> dict[str, str]:
    """Return the files that the object of a folder lists: each path with its digest.

    Raises:
        StorageError: if it is no such list.

    """
    try:
        return {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(path.read_bytes())}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StorageError(f"{path}: not a list of a folder ({error})") from error


def _answer(question: Mapping[str, Any]) -> Any:
    if question["do"] in _OF_DEFAULT:
        return _of_default(question)
    from dvc.config import Config

    settings = Path(question["checkout"]) / ".dvc"
    config: Any = Config(dvc_dir=str(settings) if settings.is_dir() else None)
    places = {name: Place(config, name) for name in config["remote"]}
    match question["do"]:
        case "sizes":
            return {name: place.sizes() for name, place in places.items()}
        case "fetch":
            found: dict[str, str] = {}
            for name, digests in question["digests"].items():
                found |= _fetch(places[name], digests, Path(question["folder"]))
            return found
        case "remove":
            removed = 0
            for place in places.values():
                for digest in question["digests"]:
                    removed += place.has(digest)
                    place.remove(digest)
            return {"removed": removed}
        case "empty":
            return {"removed": sum(place.purge(_EVER) for place in places.values())}
        case "put":
            for digest, path in question["files"].items():
                places[question["remote"]].put(Path(path), digest)
            return {}
        case _:
            file = Path(question["folder"]) / "object"
            place = places[question["remote"]]
            return {"damaged": [digest for digest in question["digests"] if not place.get(digest, file)]}


_OF_DEFAULT = ("store", "discard", "recover", "purge", "read", "repair")


def _of_default(question: Mapping[str, Any]) -> Any:
    config = configuration(Path(question["checkout"]))
    name = config["core"].get("remote")
    if name is None:
        raise StorageError(
            "no DVC remote is configured; name one, or run make up",
            following=".venv/bin/dvc remote default NAME",
        )
    place = Place(config, name)
    with tempfile.TemporaryDirectory(prefix="gitops-objects-") as temporary:
        file = Path(temporary) / "object"
        match question["do"]:
            case "store":
                cache = config["cache"].get("dir")
                listed, trash = place.listed(), place.discarded()
                # Somebody may need one in the trash again: its files come back with it
                days = {one: day for one, (day, _) in trash.items()} | dict.fromkeys(listed, "")
                files = {
                    one: [*members(file).values()]
                    for one, day in days.items()
                    if one.endswith(".dir") and place.get(one, file, day=day)
                }
                return {"name": name, "cache": cache, "objects": listed, "trash": trash, "folders": files}
            case "discard":
                for digest in question["digests"]:
                    place.discard(digest, question["day"])
                return {}
            case "recover":
                days: dict[str, str] = question["days"]
                return {"damaged": [one for one, day in days.items() if not place.recover(one, day, file)]}
            case "purge":
                return {"removed": place.purge(question["before"])}
            case "repair":
                for digest, path in question["files"].items():
                    place.put(Path(path), digest)
                return {"damaged": [one for one in question["files"] if not place.get(one, file)]}
            case _:
                return {"damaged": [one for one in question["digests"] if not place.get(one, file)]}


def _fetch(place: Place, digests: Iterable[str], folder: Path) -> dict[str, str]:
    if place.local:
        return {digest: place.path(digest) for digest in digests}
    found: dict[str, str] = {}
    for digest in digests:
        file = folder / digest
        if file.is_file() or place.get(digest, file):
            found[digest] = str(file)
    return found


if __name__ == "__main__":
    process.answer(_answer)
