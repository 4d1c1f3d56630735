"""The record of one output in a commit's `dvc.lock`: the digest under which the DVC remote stores it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

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


@dataclass(frozen=True)
class Lock:
    """The `dvc.lock` of a commit, and the `dvc.yaml` that decides which of its records count."""

    commit: str
    content: bytes
    pipeline: bytes

    @classmethod
    def load(cls, repository: Repository, commit: str) -> Self:
        """Read those of a commit."""
        name = repository.resolve(commit)
        lock, pipeline = repository.read_all([(name, path) for path in (LOCK, PIPELINE)])
        return cls(commit, lock or b"", pipeline or b"")

    def recorded(self, path: str) -> Recorded:
        """Return the record of the file `path`.

        Raises:
            ModelError: if it records nothing, or nothing that DVC would write.

        """
        where = f"{LOCK} in {self.commit[:12]}"
        try:
            out = self._output(path)
        except ParseError as error:
            raise ModelError(where, f"not written by DVC, {error}", "run dvc repro again") from error
        if out is None:
            raise ModelError(
                where, f"records no {path}", "only a commit with a trained model can be released"
            )
        digest, size = str(out.get("md5", "")), str(out.get("size", ""))
        if not re.fullmatch(r"[0-9a-f]{32}", digest):
            raise ModelError(where, f"{path} has no MD5 digest", "run dvc repro again")
        return Recorded(digest, int(size) if re.fullmatch(r"[0-9]{1,18}", size) else None)

    def digest(self, path: str) -> str | None:
        """Return the MD5 digest that it records of an output, or None if it records none.

        Raises:
            GateError: if the lock cannot be read.

        """
        try:
            md5 = (self._output(path) or {}).get("md5")
        except ParseError as error:
            where = f"{LOCK} in {self.commit[:12]}"
            raise GateError(where, f"not written by DVC, {error}", "run dvc repro again") from error
        return md5 if isinstance(md5, str) else None

    def _output(self, path: str) -> dict[str, parse.Value] | None:
        """Return the record of one output, or None where there is none.

        A stage that somebody renamed leaves the record under its former name behind. DVC takes no notice of
        that.

        Raises:
            ParseError: if one of the files cannot be read.

        """
        outs = [
            (name, parse.mapping(out))
            for name, stage in stages(self.content).items()
            for out in parse.sequence(stage.get("outs"))
            if parse.mapping(out).get("path") == path
        ]
        if len(outs) > 1:
            names = parse.mapping(parse.mapping(parse.yaml_value(self.pipeline, parse.LOCK)).get("stages"))
            # Those of a loop are called name@item.
            outs = [(name, out) for name, out in outs if name.partition("@")[0] in names]
        return outs[0][1] if outs else None


def stages(content: bytes) -> dict[str, dict[str, parse.Value]]:
    """Return the records of a `dvc.lock`, by stage; an empty file has no record.

    Raises:
        ParseError: if the file was not written by DVC.

    """
    data = parse.yaml_value(content, parse.LOCK)
    stages = data.get("stages") if isinstance(data, dict) else data
    if stages is not None and not isinstance(stages, dict):
        raise ParseError("no mapping of stages")
    checked: dict[str, dict[str, parse.Value]] = {}
    for name, stage in (stages or {}).items():
        if not isinstance(stage, dict):
            raise ParseError(f"the stage {name[:40]!r} is not a mapping")
        checked[name] = stage
    return checked


def outs(content: bytes) -> Iterator[dict[str, parse.Value]]:
    """Yield the record of each output of each stage in a `dvc.lock`.

    Raises:
        ParseError: if the file was not written by DVC.

    """
    for stage in stages(content).values():
        for out in parse.sequence(stage.get("outs")):
            yield parse.mapping(out)
