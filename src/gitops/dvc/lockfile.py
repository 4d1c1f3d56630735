"""What a commit's `dvc.lock` records of one output: the digest by which the DVC remote keeps it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gitops.errors import ModelError, ParseError
from gitops.git.repository import Repository
from gitops.text import parse

LOCK = "dvc.lock"


@dataclass(frozen=True)
class Recorded:
    """The MD5 digest and the size in bytes of one file; the size where it is recorded."""

    md5: str
    size: int | None


def recorded(repository: Repository, commit: str, path: str) -> Recorded:
    """Return what `dvc.lock` of a commit records of the file `path`.

    :raises ModelError: where it records nothing, or nothing that DVC would write.
    """
    where = f"{LOCK} in {commit[:12]}"
    try:
        for out in outs(repository.read(commit, LOCK) or b""):
            if out.get("path") == path:
                digest, size = str(out.get("md5", "")), str(out.get("size", ""))
                if not re.fullmatch(r"[0-9a-f]{32}", digest):
                    raise ModelError(f"{where}: {path} has no MD5 digest; run dvc repro again")
                return Recorded(digest, int(size) if re.fullmatch(r"[0-9]{1,18}", size) else None)
    except ParseError as error:
        raise ModelError(f"{where}: not what DVC writes, {error}; run dvc repro again") from error
    raise ModelError(f"{where}: records no {path}; only a commit with a trained model can be released")


def stages(content: bytes) -> dict[str, dict[str, parse.Value]]:
    """Return what a `dvc.lock` records of each stage; an empty file records none.

    Raises:
        ParseError: where it is not what DVC writes.

    """
    data = parse.yaml_value(content, parse.LOCK)
    found = data.get("stages") if isinstance(data, dict) else data
    if found is not None and not isinstance(found, dict):
        raise ParseError("no mapping of stages")
    for name, stage in (found or {}).items():
        if not isinstance(stage, dict):
            raise ParseError(f"the stage {name[:40]!r} is no mapping")
    return found or {}


def outs(content: bytes) -> Iterator[dict[str, parse.Value]]:
    """Yield what a `dvc.lock` records of each output of each stage.

    Raises:
        ParseError: where it is not what DVC writes.

    """
    for stage in stages(content).values():
        for out in parse.sequence(stage.get("outs")):
            yield parse.mapping(out)
