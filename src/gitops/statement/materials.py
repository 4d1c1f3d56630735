"""The materials of a model: everything that a commit records about how its model was made."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from gitops.diff import files
from gitops.dvc import lockfile
from gitops.errors import GateError, ParseError
from gitops.git.repository import Repository
from gitops.model.evaluation import Evaluation, evaluation
from gitops.model.groups import Groups
from gitops.model.metrics import parse
from gitops.paths import DEPENDENCIES, EVALUATION, GROUPS, LOCK, MODEL, PARAMETERS
from gitops.release import contract, licences
from gitops.release.licences import Licences
from gitops.text.parse import mapping, sequence

_PYTHON = ".python-version"
_REMEDY = "run dvc repro again"


@dataclass(frozen=True)
class Recorded:
    """A file or a folder in `dvc.lock`, by the MD5 digest of the file, or of DVC's list of the folder."""

    path: str
    md5: str
    folder: bool
    made: bool
    """Whether a stage made it, rather than read it from git or from outside."""


@dataclass(frozen=True)
class Materials:
    """The model of a commit, and everything that the commit records about how it was made."""

    commit: str
    at: datetime
    model_sha256: str
    evaluation: Evaluation
    groups: Groups | None
    recorded: tuple[Recorded, ...]
    parameters: Mapping[str, str]
    packages: Mapping[str, str]
    dependencies_sha256: str | None
    """The digest of the dependency lock."""
    contract: int
    """The contract that the DAGs of the commit need of the runtime."""
    python: str | None
    batches: tuple[str, ...]
    licences: Licences

    @classmethod
    def load(cls, repository: Repository, commit: str) -> Self:
        """Read the materials of a commit.

        Raises:
            GateError: if it has no model, or its `dvc.lock` cannot be read.
            FindingError: if another file of it cannot be read.

        """
        commit = repository.resolve(commit)
        names = (
            *(EVALUATION, LOCK, lockfile.PIPELINE, PARAMETERS, DEPENDENCIES),
            *(contract.PATH, _PYTHON, licences.PATH, GROUPS),
        )
        contents = dict(zip(names, repository.read_all([(commit, name) for name in names]), strict=True))
        figures = evaluation(contents[EVALUATION], commit)
        try:
            recorded = tuple(_recorded(contents[LOCK] or b"", contents[lockfile.PIPELINE] or b""))
        except ParseError as error:
            raise GateError(f"{LOCK} in {commit[:12]}", f"not written by DVC, {error}", _REMEDY) from error
        if not any(item.path == MODEL and item.made for item in recorded):
            raise GateError(f"{LOCK} in {commit[:12]}", f"records no {MODEL}", _REMEDY)
        pins, python = contents[DEPENDENCIES], contents[_PYTHON]
        return cls(
            commit=commit,
            at=repository.commit_info(commit).at,
            model_sha256=figures.model_sha256,
            evaluation=figures,
            groups=parse(contents.get).groups,
            recorded=recorded,
            parameters=files.flat(contents[PARAMETERS] or b""),
            packages=files.pins(pins or b""),
            dependencies_sha256=None if pins is None else hashlib.sha256(pins).hexdigest(),
            contract=contract.needed(contents[contract.PATH]),
            python=None if python is None else _version(python),
            batches=licences.batches(repository.files(commit, licences.BATCHES)),
            licences=Licences.read(contents[licences.PATH]),
        )

    @property
    def source(self) -> str:
        return self.parameters.get("data.source", "unknown")


def _version(content: bytes) -> str | None:
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+){1,2})\s*", content.decode("utf-8", "replace"))
    return found[1] if found else None


def _recorded(lock: bytes, pipeline: bytes) -> Iterator[Recorded]:
    """Yield the files of a `dvc.lock`, each once; an output that a later stage reads counts as made.

    Raises:
        ParseError: if DVC did not write it.

    """
    found: dict[str, Recorded] = {}
    for path, out in lockfile.outs(lock, pipeline):
        if item := _item(path, out.get("md5"), made=True):
            found[path] = item
    for stage in lockfile.stages(lock).values():
        for read in map(mapping, sequence(stage.get("deps"))):
            path = str(read.get("path", ""))
            if path and path not in found and (item := _item(path, read.get("md5"), made=False)):
                found[path] = item
    yield from (found[path] for path in sorted(found))


def _item(path: str, digest: object, *, made: bool) -> Recorded | None:
    match = re.fullmatch(r"([0-9a-f]{32})(\.dir)?", str(digest))
    return Recorded(path, match[1], match[2] is not None, made) if match else None
