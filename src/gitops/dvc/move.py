"""Moving the objects of a DVC remote to another one that the configuration of a checkout names.

Each object is copied, read again from its new place, and compared with its digest, so an object that is there
already counts only if it is whole. The old place stays as it is. A move that was interrupted goes on where it
stopped.

DVC runs in a process of its own, as it is heavy to import (`python -I -m gitops.dvc.move`).
"""

# DVC has no types.
# pyright: reportMissingTypeStubs=false

import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from gitops.dvc import process
from gitops.dvc.place import Place, level
from gitops.errors import StorageError

_EACH = 1000
"""Objects between two lines of progress."""


class Moved(BaseModel):
    """The result of a move.

    Attributes:
        source: The name of the remote whose objects were copied.
        objects: The objects of that remote.
        copied: Those that the new one did not have.
        damaged: Those whose bytes are not those of their digest; they were not copied.
        missing: The wanted digests that the new remote does not have.
        level: The configuration of DVC that names the present remote.
        file: The file of that configuration.
        settings: The options of the new remote that `.dvc/config` has, without its credentials.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    objects: int
    copied: int
    damaged: tuple[str, ...]
    missing: tuple[str, ...]
    level: Literal["local", "repo", "global", "system"]
    file: str
    settings: dict[str, str]


def move(checkout: Path, target: str, wanted: Iterable[str], *, source: str | None = None) -> Moved:
    """Copy all objects of the present DVC remote to another one.

    Args:
        checkout: The folder whose `.dvc/` names both remotes; the user's own DVC settings count too.
        target: The name of the remote to copy to.
        wanted: The digests of objects that the new remote must have in the end.
        source: The name of the remote to copy from; by default the present one.

    Raises:
        StorageError: if a remote is not known, or does not answer.

    """
    question = {"folder": str(checkout), "target": target, "source": source, "wanted": sorted(set(wanted))}
    answer = process.ask("gitops.dvc.move", question)
    try:
        return Moved.model_validate(answer)
    except ValidationError as error:
        raise StorageError(f"DVC gave no answer: {str(answer)[:200]}") from error


def point(content: bytes | None, name: str, settings: Mapping[str, str]) -> bytes:
    """Return the content of a `.dvc/config` that names another remote as the default.

    Args:
        content: The present content.
        name: The name of the remote.
        settings: Its options.

    """
    lines = (content or b"").decode("utf-8", "replace").splitlines()
    section = re.compile(rf"\s*\[\s*'?remote\s+\"{re.escape(name)}\"'?\s*\]\s*")
    kept: list[str] = []
    inside = ""
    for line in lines:
        if re.match(r"\s*\[", line):
            inside = "own" if section.fullmatch(line) else line.strip(" []'\"")
        if inside == "own" or (inside == "core" and re.match(r"\s*remote\s*=", line)):
            continue
        kept.append(line)
    if not any(line.strip() == "[core]" for line in kept):
        kept = ["[core]", *kept]
    place = next(number for number, line in enumerate(kept) if line.strip() == "[core]")
    kept.insert(place + 1, f"    remote = {name}")
    options = (f"    {key} = {value}" for key, value in settings.items())
    return "\n".join([*kept, f"['remote \"{name}\"']", *options, ""]).encode()


def _move(folder: str, target: str, source: str | None, wanted: list[str]) -> Moved:
    from dvc.config import Config
    from dvc.config_schema import RelPath

    settings = Path(folder) / ".dvc"
    config: Any = Config(dvc_dir=str(settings) if settings.is_dir() else None)
    named_in = level(config)
    if named_in is None:
        raise StorageError(
            "no DVC remote is configured here; name the present one",
            following=".venv/bin/dvc remote default NAME",
        )
    present = str(config["core"]["remote"])
    old, new = Place(config, source or present), Place(config, target)
    address = config["remote"][target]["url"]
    if named_in == "repo" and isinstance(address, RelPath):
        raise StorageError(
            f"the address of {target} is relative, and each checkout has another place; name the whole path",
            following=f".venv/bin/dvc remote modify {target} url {shlex.quote(str(Path(address).resolve()))}",
        )
    if old.url == new.url:
        raise StorageError(
            f"{source or present} and {target} are the same place, {old.url}",
            following=".venv/bin/dvc remote list",
        )
    objects, copied, damaged = 0, 0, list[str]()
    with tempfile.TemporaryDirectory(prefix="gitops-move-") as temporary:
        for digest in old.digests():
            objects += 1
            done = _copy(old, new, digest, Path(temporary))
            copied += done == "copied"
            if done == "damaged":
                damaged.append(digest)
            if objects % _EACH == 0:
                sys.stderr.write(f"{objects} objects, {copied} copied\n")
                sys.stderr.flush()
        missing = [digest for digest in wanted if not _whole(new, digest, Path(temporary))]
    shared: Any = config.load_file(config.files["repo"]) if settings.is_dir() else {}
    return Moved(
        source=source or present,
        objects=objects,
        copied=copied,
        damaged=tuple(damaged),
        missing=tuple(missing),
        level=cast(Any, named_in),
        file=str(config.files[named_in]),
        settings={key: str(value) for key, value in shared.get("remote", {}).get(target, {}).items()},
    )


def _copy(old: Place, new: Place, digest: str, temporary: Path) -> Literal["there", "copied", "damaged"]:
    file, check = temporary / "object", temporary / "check"
    if new.get(digest, check):
        return "there"
    if not old.get(digest, file):
        return "damaged"
    new.put(file, digest)
    if not new.get(digest, check):
        raise StorageError(f"{new.url} does not give {digest} back as it was sent; run the command again")
    return "copied"


def _whole(place: Place, digest: str, temporary: Path) -> bool:
    """Whether an object is there, and those that it lists if it is a folder. They were compared before."""
    if not digest.endswith(".dir"):
        return place.has(digest)
    file = temporary / "folder"
    if not place.get(digest, file):
        return False
    return all(place.has(str(entry["md5"])) for entry in json.loads(file.read_bytes()))


if __name__ == "__main__":
    process.answer(lambda question: _move(**question).model_dump(mode="json"))
