"""A comparer: compares models with code that is trusted, and keeps each comparison once.

Nothing of a commit that is judged is executed: its model and its hold-out set are data, which come from the
DVC remote that the trusted commit names.
"""

import hashlib
import logging
import shutil
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
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, Workspace, workspace
from gitops.model.download import fetch_model
from gitops.paths import HOLDOUT
from gitops.private import private_folder
from gitops.release.snapshot import DVC_CONFIG, Snapshot
from gitops.runtime import OWN_RUNNER, foreign_runner, installed

log = logging.getLogger(__name__)

_HOUR = timedelta(hours=1)
_MADE_FROM = ("src/face_attributes", "requirements.lock")
"""The code and the libraries of a comparison."""


def _log(message: str) -> None:
    log.info("%s", message)


@dataclass(frozen=True)
class Comparer:
    """Compares models of commits of `origin`; downloads and results stay in the folder `home`.

    `repository` has these commits. `code` returns the commit whose code compares and whose `.dvc/config`
    names the DVC remote: main, or the release of an environment, and never a commit that is judged.
    `announce` is called before a comparison that is not cached, which takes a minute or more.
    """

    repository: Repository
    origin: Origin
    home: Path
    code: Callable[[], str]
    announce: Callable[[str], None] = _log
    _made: set[Path] = field(default_factory=set, init=False, repr=False, compare=False)

    def __call__(
        self,
        model: Snapshot,
        incumbent: Snapshot,
        /,
        *,
        images: Snapshot | None = None,
        refresh: bool = False,
    ) -> Comparison:
        """Return how a model compares with that of an incumbent.

        Both answer the hold-out set of the release `images`; without it, that of `model`.

        Equal models on equal images are compared once, whatever commits they are part of; a comparison that
        is known needs neither `origin` nor the DVC remote. `refresh` replaces one that is not this comparer's
        own.

        Raises:
            NotComparableError: if no DVC remote is configured, from which models could come.
            ComparisonError: if one is, but the comparison could not be made.

        """
        commit, before, judged_by = model.commit, incumbent.commit, images or model
        try:
            new, old = (release.evaluation.model_sha256 for release in (model, incumbent))
            digest = judged_by.holdout
        except GateError as error:
            raise ComparisonError(str(error)) from error
        code = self.code()
        if self.repository.read(code, DVC_CONFIG) is None:
            raise NotComparableError(f"{code[:12]} is not under DVC")
        if digest is None:
            raise ComparisonError(
                f"dvc.lock in {judged_by.commit[:12]} records no {HOLDOUT}; "
                f"run: source .venv/bin/activate && dvc repro"
            )
        # By its inputs, and by the code: a comparison of other code is another one.
        parts = self.repository.object_ids([f"{code}:{path}" for path in _MADE_FROM])
        key = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]
        file = self.home / "comparisons" / f"{new}-{old}-{digest}-{key}.json"
        if (file in self._made or not refresh) and (known := _known(file)) is not None:
            return known
        if judged_by.source == "celeba" and (runner := foreign_runner()):
            raise NotComparableError(
                f"photographs do not go to a runner that is not yours ({runner} is set); set "
                f"{OWN_RUNNER}=true on your own"
            )
        if not installed("onnxruntime"):
            raise ComparisonError(
                f"the models of {commit[:12]} and {before[:12]} cannot be compared: the libraries of the "
                "model code are not installed beside gitops; run make setup-gates"
            )
        self.announce(f"Comparing the models of {commit[:12]} and {before[:12]} on the same images ...")
        try:
            content, seen = self._make(code, commit, before, digest)
        except (StepError, StorageError, ModelError, GateError, GitError) as error:
            raise ComparisonError(str(error)) from error
        made = parse(content, f"the comparison by {code[:12]}")
        if (made.model_sha256, made.incumbent_sha256) != (new, old):
            raise ComparisonError(
                f"{made.model_sha256[:12]} and {made.incumbent_sha256[:12]} were compared, but {commit[:12]} "
                f"records {new[:12]} and {before[:12]} {old[:12]}; export and evaluate again"
            )
        if made.holdout_sha256 != seen:
            raise ComparisonError(
                f"{made.holdout_sha256[:12]} was compared on, but {judged_by.commit[:12]} records another "
                f"{HOLDOUT}"
            )
        _keep(file, content)
        self._made.add(file)
        return made

    def _make(self, code: str, commit: str, incumbent: str, images: str) -> tuple[bytes, str]:
        """Compare on the hold-out set with the MD5 digest `images`; return the result, and its SHA-256."""
        private_folder(self.home)
        with workspace(self.origin, code, self.home / "workspaces") as space:
            _require_remote(space, code)
            folder = space.path / "compared"
            folder.mkdir()
            holdout_set, out = folder / "holdout.parquet", folder / "comparison.json"
            Storage(space.path).fetch(images, holdout_set, timeout=_HOUR)
            if _digest(holdout_set, "md5") != images:
                raise StorageError(
                    f"the DVC remote's copy of {images} has another digest; push it from where it was made",
                    following=".venv/bin/dvc push",
                )
            command = ["python", "-m", "face_attributes", "compare"]
            for option, revision in (("--model", commit), ("--incumbent", incumbent)):
                known = fetch_model(
                    self.origin, revision, cache=self.home / "models", configuration=space.path
                )
                command += [option, str(shutil.copyfile(known, folder / f"{option.strip('-')}.onnx"))]
            call([*command, "--holdout", str(holdout_set), "--out", str(out)], space.path, _HOUR)
            return out.read_bytes(), _digest(holdout_set, "sha256")


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


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
