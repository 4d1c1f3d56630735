"""The record of one output in a commit's `dvc.lock`: the digest under which the DVC remote stores it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename, join, normpath
from typing import Self

from gitops.errors import GateError, ModelError, ParseError
from gitops.git.repository import Repository
from gitops.paths import LOCK
from gitops.text import parse

PIPELINE = "dvc.yaml"
DATA = "data"
_TEMPLATE = "${"
_SIZE = re.compile(r"[0-9]{1,15}")
_MOST_BYTES = 10**15


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
    def of_folder(cls, folder: Path) -> Self:
        """Read those of a checkout, as a stage left them.

        Raises:
            GateError: if one of them is no regular file, or too large.

        """
        content: list[bytes] = []
        for name in (LOCK, PIPELINE):
            try:
                content.append(parse.file(folder / name, parse.LOCK.size))
            except FileNotFoundError:
                content.append(b"")
            except (ParseError, OSError) as error:
                raise GateError(name, str(error), "repair it") from error
        return cls("the checkout", *content)

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
        except GateError as error:
            raise ModelError(
                error.finding.subject, error.finding.problem, error.finding.remedy, rule=error.finding.rule
            ) from error
        if out is None:
            raise ModelError(
                where,
                f"records no {path}",
                "only a commit with a trained model can be released",
                rule="no-model",
            )
        digest, size = str(out.get("md5", "")), str(out.get("size", ""))
        if not re.fullmatch(r"[0-9a-f]{32}", digest):
            raise ModelError(
                where, f"{path} has no MD5 digest", "run: source .venv/bin/activate && dvc repro"
            )
        return Recorded(digest, int(size) if _SIZE.fullmatch(size) else None)

    def digest(self, path: str) -> str | None:
        """Return the MD5 digest that it records of an output, or None if it records none.

        Raises:
            GateError: if the lock cannot be read.

        """
        md5 = (self._output(path) or {}).get("md5")
        return md5 if isinstance(md5, str) else None

    def size(self, path: str) -> int:
        """Return the size in bytes that it records of an output, or 0; else as `digest`."""
        size = str((self._output(path) or {}).get("size", ""))
        return min(int(size), _MOST_BYTES) if _SIZE.fullmatch(size) else 0

    def digests(self) -> dict[str, str]:
        """Return the MD5 digest of each output that it records.

        Raises:
            GateError: if one of the files cannot be read.

        """
        try:
            found = [(path, out.get("md5")) for path, out in outs(self.content, self.pipeline)]
        except ParseError as error:
            where = f"{LOCK} in {self.commit[:12]}"
            raise GateError(where, f"not written by DVC, {error}", "run dvc repro") from error
        return {path: digest for path, digest in found if isinstance(digest, str)}

    def data_of(self, stage: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the digests of the data that a stage read, and of its outputs, by path.

        Code and parameters are left out: data is an output of a stage, or in the folder `data`.

        Raises:
            GateError: if one of the files cannot be read.

        """
        read, made = self._data_of(stage)
        inputs, outputs = (
            {path: str(one.get("md5", "")) for path, one in records.items()} for records in (read, made)
        )
        return inputs, outputs

    def bytes_of(self, stage: str) -> tuple[int, int]:
        """Return the size of the data that a stage read, and of its outputs; else as `data_of`."""
        read, made = (
            sum(int(size) for one in records.values() if _SIZE.fullmatch(size := str(one.get("size", ""))))
            for records in self._data_of(stage)
        )
        return min(read, _MOST_BYTES), min(made, _MOST_BYTES)

    def _data_of(
        self, stage: str
    ) -> tuple[dict[str, dict[str, parse.Value]], dict[str, dict[str, parse.Value]]]:
        try:
            definitions = _definitions(self.pipeline)
            made = list(_records(self.content, definitions))
            read = list(_records(self.content, definitions, "deps"))
        except ParseError as error:
            where = f"{LOCK} in {self.commit[:12]}"
            raise GateError(
                where, f"not written by DVC, {error}", "run: source .venv/bin/activate && dvc repro"
            ) from error
        data = {path for _, path, _ in made}
        inputs, outputs = (
            {path: one for name, path, one in records if _base(name) == stage} for records in (read, made)
        )
        wanted = {path for path in inputs if path in data or path.startswith(f"{DATA}/")}
        return {path: one for path, one in inputs.items() if path in wanted}, outputs

    def _output(self, path: str) -> dict[str, parse.Value] | None:
        """Return the record of one output, or None where there is none.

        A stage that somebody renamed leaves the record under its former name behind. DVC takes no notice of
        that.

        Raises:
            GateError: if one of the files cannot be read, or two stages of a loop differ in the record.

        """
        try:
            definitions = _definitions(self.pipeline)
        except ParseError as error:
            where = f"{error.place(PIPELINE)} in {self.commit[:12]}"
            raise GateError(where, str(error), "repair it") from error
        try:
            records = list(_records(self.content, definitions))
        except ParseError as error:
            where = f"{LOCK} in {self.commit[:12]}"
            raise GateError(
                where, f"not written by DVC, {error}", "run: source .venv/bin/activate && dvc repro"
            ) from error
        found = [(name, out) for name, made, out in records if made == path]
        if len(found) > 1:
            found = [(name, out) for name, out in found if _base(name) in definitions]
        if found:
            (name, record), *others = found
            for other, differing in others:
                # Only DVC knows which of them the loop still has.
                if differing != record:
                    raise GateError(
                        f"{LOCK} in {self.commit[:12]}",
                        f"{name} and {other} both record {path}, with different digests",
                        f"delete the record of the one that {PIPELINE} no longer has",
                    )
            return record
        for name, made, _ in records:
            if _TEMPLATE in made and basename(made) == basename(path):
                raise GateError(
                    f"{PIPELINE} in {self.commit[:12]}",
                    f"the wdir of {_base(name)} is a template, so it is not known whether that makes {path}",
                    "write the folder out",
                )
        return None


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


def outs(content: bytes, pipeline: bytes) -> Iterator[tuple[str, dict[str, parse.Value]]]:
    """Yield the path and the record of each output of each stage in a `dvc.lock`.

    Args:
        content: The `dvc.lock`.
        pipeline: The `dvc.yaml`, which has the folders that the paths of some stages begin at.

    Raises:
        ParseError: if the file was not written by DVC, or the `dvc.yaml` cannot be read.

    """
    for _, path, out in _records(content, _definitions(pipeline)):
        yield path, out


def _definitions(pipeline: bytes) -> dict[str, parse.Value]:
    return parse.mapping(parse.mapping(parse.yaml_value(pipeline, parse.LOCK)).get("stages"))


def _records(
    content: bytes, definitions: dict[str, parse.Value], part: str = "outs"
) -> Iterator[tuple[str, str, dict[str, parse.Value]]]:
    """Yield the stage, the path in the repository, and the record of each output, or of each of `deps`."""
    for name, stage in stages(content).items():
        definition = parse.mapping(definitions.get(_base(name)))
        is_loop = not definition.keys().isdisjoint(("foreach", "matrix"))
        # Left behind by a stage that became a loop, or by a loop that became a stage; DVC takes no notice.
        if definition and is_loop != ("@" in name):
            continue
        # The stages of a `foreach` have their definition under `do`, those of a `matrix` beside it.
        folder = parse.mapping(definition.get("do", definition)).get("wdir", "")
        for out in map(parse.mapping, parse.sequence(stage.get(part))):
            if isinstance(path := out.get("path"), str):
                whole = join(folder, path) if isinstance(folder, str) else path
                # A template may stand for several folders, so `..` leads to an unknown place.
                yield name, whole if _TEMPLATE in whole else normpath(whole), out


def _base(name: str) -> str:
    """Return the name of a stage in `dvc.yaml`: those of a loop are called name@item in `dvc.lock`."""
    return name.partition("@")[0]
