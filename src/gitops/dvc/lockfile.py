"""What a commit's `dvc.lock` records of one output: the digest by which the DVC remote keeps it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gitops.errors import GateError, ModelError, ParseError
from gitops.git.repository import Repository
from gitops.paths import LOCK
from gitops.text import parse

PIPELINE = "dvc.yaml"


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
        out = output(repository, commit, path)
    except ParseError as error:
        raise ModelError(where, f"not what DVC writes, {error}", "run dvc repro again") from error
    if out is None:
        raise ModelError(where, f"records no {path}", "only a commit with a trained model can be released")
    digest, size = str(out.get("md5", "")), str(out.get("size", ""))
    if not re.fullmatch(r"[0-9a-f]{32}", digest):
        raise ModelError(where, f"{path} has no MD5 digest", "run dvc repro again")
    return Recorded(digest, int(size) if re.fullmatch(r"[0-9]{1,18}", size) else None)


def digest(repository: Repository, commit: str, path: str) -> str | None:
    """Return the MD5 digest that `dvc.lock` of a commit records of an output, or None if it records none.

    Raises:
        GateError: if the lock cannot be read.

    """
    try:
        md5 = (output(repository, commit, path) or {}).get("md5")
    except ParseError as error:
        where = f"{LOCK} in {commit[:12]}"
        raise GateError(where, f"not what DVC writes, {error}", "run dvc repro again") from error
    return md5 if isinstance(md5, str) else None


def output(repository: Repository, commit: str, path: str) -> dict[str, parse.Value] | None:
    """Return the record of one output in `dvc.lock` of a commit, or None where there is none.

    A stage that somebody renamed leaves the record under its former name behind. DVC takes no notice of that.

    Raises:
        ParseError: where `dvc.lock` or the `dvc.yaml` that tells which record counts cannot be read.

    """
    found = [
        (name, parse.mapping(out))
        for name, stage in stages(repository.read(commit, LOCK) or b"").items()
        for out in parse.sequence(stage.get("outs"))
        if parse.mapping(out).get("path") == path
    ]
    if len(found) > 1:
        pipeline = parse.mapping(parse.yaml_value(repository.read(commit, PIPELINE) or b"", parse.LOCK))
        names = parse.mapping(pipeline.get("stages"))
        # Those of a loop are called name@item.
        found = [(name, out) for name, out in found if name.partition("@")[0] in names]
    return found[0][1] if found else None


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
