"""The objects of the DVC remotes that a checkout names: listed, fetched, put and removed by their digests.

DVC runs in a process of its own, as it is heavy to import (`python -I -m gitops.dvc.objects`).
"""

# DVC has no types.
# pyright: reportMissingTypeStubs=false

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gitops.dvc import process
from gitops.dvc.place import Place
from gitops.errors import StorageError

_PATH = ("files", "md5")


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
        case "put":
            for digest, path in question["files"].items():
                places[question["remote"]].put(Path(path), digest)
            return {}
        case _:
            file = Path(question["folder"]) / "object"
            place = places[question["remote"]]
            return {"damaged": [digest for digest in question["digests"] if not place.get(digest, file)]}


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
