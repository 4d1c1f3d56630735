"""A comparer: has a release compare its model with the incumbent, and keeps each comparison once."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from gitops import atomic
from gitops.dvc.remote import Storage
from gitops.dvc.run import call
from gitops.errors import (
    ComparisonError,
    GateError,
    GitError,
    ModelError,
    NotComparableError,
    StepError,
    StorageError,
)
from gitops.gates.comparison import Comparison, parse
from gitops.gates.gates import holdout
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, Workspace, workspace
from gitops.model.download import fetch_model
from gitops.model.evaluation import evaluation
from gitops.paths import HOLDOUT, MODEL
from gitops.private import private_folder
from gitops.runtime import installed

log = logging.getLogger(__name__)

_HOUR = timedelta(hours=1)


def _log(message: str) -> None:
    log.info("%s", message)


@dataclass(frozen=True)
class Comparer:
    """Compares models of commits of `origin`; downloads and results stay in the folder `home`.

    `announce` is called before a comparison that is not cached, which takes a minute or more.
    """

    origin: Origin
    home: Path
    announce: Callable[[str], None] = _log
    _made: set[Path] = field(default_factory=set, init=False, repr=False, compare=False)

    def __call__(
        self,
        repository: Repository,
        commit: str,
        incumbent: str,
        /,
        *,
        images: str | None = None,
        refresh: bool = False,
    ) -> Comparison:
        """Return how the model of `commit` compares with that of `incumbent`.

        Both answer the hold-out set of the commit `images`; without it, that of `commit`.

        Equal models on equal images are compared once, whatever commits they are part of; a comparison that
        is known needs neither `origin` nor the DVC remote. `refresh` replaces one that is not this comparer's
        own. `repository` has both commits.

        Raises:
            NotComparableError: if no DVC remote is configured, from which models could come.
            ComparisonError: if one is, but the comparison could not be made.

        """
        try:
            new, old = (evaluation(repository, revision).model_sha256 for revision in (commit, incumbent))
            judged_by = images or commit
            digest = holdout(repository, judged_by)
        except GateError as error:
            raise ComparisonError(str(error)) from error
        if repository.read(commit, ".dvc/config") is None:
            raise NotComparableError(f"{commit[:12]} is not under DVC")
        if digest is None:
            raise ComparisonError(f"dvc.lock in {judged_by[:12]} records no {HOLDOUT}; run dvc repro")
        file = self.home / "comparisons" / f"{new}-{old}-{digest}.json"
        if (file in self._made or not refresh) and (known := _known(file)) is not None:
            return known
        if not installed("onnxruntime"):
            raise ComparisonError(
                f"the models of {commit[:12]} and {incumbent[:12]} cannot be compared: the libraries of the "
                "model code are not installed beside gitops; run make setup-gates"
            )
        self.announce(f"Comparing the models of {commit[:12]} and {incumbent[:12]} on the same images ...")
        try:
            content = self._make(commit, incumbent, digest if images else None)
        except (StepError, StorageError, ModelError, GateError, GitError) as error:
            raise ComparisonError(str(error)) from error
        made = parse(content, f"the comparison by {commit[:12]}")
        if (made.model_sha256, made.incumbent_sha256) != (new, old):
            raise ComparisonError(
                f"{made.model_sha256[:12]} and {made.incumbent_sha256[:12]} were compared, but {commit[:12]} "
                f"records {new[:12]} and {incumbent[:12]} {old[:12]}; export and evaluate again"
            )
        _keep(file, content)
        self._made.add(file)
        return made

    def _make(self, commit: str, incumbent: str, images: str | None) -> bytes:
        """Compare on the hold-out set of `commit`, or on the one with the MD5 digest `images`."""
        private_folder(self.home)
        with workspace(self.origin, commit, self.home / "workspaces") as space:
            _require_remote(space, commit)
            before = fetch_model(self.origin, incumbent, cache=self.home / "models")
            call(["dvc", "pull", MODEL, *([] if images else [HOLDOUT])], space.path, _HOUR)
            if images:
                # The file is not the one that dvc.lock records here: DVC is not asked to check it out
                (space.path / HOLDOUT).parent.mkdir(parents=True, exist_ok=True)
                Storage(space.path).fetch(images, space.path / HOLDOUT, timeout=_HOUR)
                with (space.path / HOLDOUT).open("rb") as content:
                    digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False))
                if digest.hexdigest() != images:
                    raise StorageError(f"the DVC remote's copy of {images} has another digest; push it again")
            out = space.path / "comparison.json"
            command = ["python", "-m", "face_attributes", "compare", "--model", MODEL]
            options = ["--incumbent", str(before), "--holdout", HOLDOUT, "--out", str(out)]
            call([*command, *options], space.path, _HOUR)
            return out.read_bytes()


def _require_remote(space: Workspace, commit: str) -> None:
    try:
        call(["dvc", "remote", "default"], space.path, timedelta(minutes=1))
    except StepError as error:
        raise NotComparableError(f"no DVC remote is configured for {commit[:12]}") from error


def _known(file: Path) -> Comparison | None:
    try:
        return parse(file.read_bytes(), file.name)
    except FileNotFoundError:
        return None
    except ComparisonError as error:
        # Written by another version, or damaged.
        log.warning("%s cannot be used and is computed again: %s", file, error)
        return None


def _keep(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(file, content)
