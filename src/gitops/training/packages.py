"""Packages: the effect of an upgrade of the locked packages, measured on small data.

`measure` runs once with the packages of before, and once with the newer ones.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import distributions
from pathlib import Path
from typing import Self

from gitops.dvc.run import call, call_dvc
from gitops.errors import GitopsError, ParseError, StepError
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, workspace
from gitops.model.decisions import Decisions
from gitops.model.metrics import Metrics, of_folder
from gitops.paths import HOLDOUT, MODEL
from gitops.private import private_folder
from gitops.text import record
from gitops.text.record import Count, Number, Record
from gitops.training.verification import Speed

_PROFILE = ("python", "-m", "face_attributes", "profile", "small")
_INSTALLED, _DETAILS, _KEPT = "installed.json", "details", ("metrics", "plots")
_RESULTS = ("decisions.json", "latency.json")
_MINUTES = timedelta(minutes=10)


class Installed(Record):
    """The installed packages: their number and size, and the seconds of the pipeline with them."""

    packages: Count
    bytes: Count
    seconds: Number


@dataclass(frozen=True)
class Measured:
    """The results with some packages.

    Attributes:
        installed: The packages; None where nothing was measured.
        metrics: Those of a model that was trained with them.
        decisions: The decisions of the model of before on their ONNX Runtime; None without them.
        milliseconds: The latency of that model for one image; None without it.

    """

    installed: Installed | None = None
    metrics: Metrics = field(default_factory=Metrics)
    decisions: Decisions | None = None
    milliseconds: float | None = None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the results of `measure`, which may be anybody's; empty where it came to no end.

        Raises:
            GitopsError: if a file of it cannot be read.

        """
        if not (folder / _INSTALLED).exists():
            return cls()
        for path in (folder, folder / _DETAILS):
            if path.is_symlink():
                raise GitopsError(f"{path}: a link; run .venv/bin/gitops packages again")
        try:
            return cls(
                record.read_file(Installed, folder / _INSTALLED),
                of_folder(folder),
                record.read_file(Decisions, folder / _DETAILS / "decisions.json"),
                record.read_file(Speed, folder / _DETAILS / "latency.json").p50_ms,
            )
        except (OSError, ParseError) as error:
            raise GitopsError(f"{folder}: {error}; run .venv/bin/gitops packages again") from error


def measure(
    repository: Repository,
    commit: str,
    out: Path,
    *,
    before: Path | None = None,
    timeout: timedelta = timedelta(hours=1),
    announce: Callable[[str], None],
) -> None:
    """Run the pipeline of a commit on small data with the packages of this interpreter; leave the results.

    All stages run, isolated. A model answers its hold-out set for the comparison of decisions: the one that
    was trained here, or that of an earlier measurement.

    Args:
        repository: The checkout.
        commit: The commit.
        out: The folder for the results; an earlier one is replaced.
        before: The folder of the earlier measurement.
        timeout: The time for the pipeline.
        announce: Shows a line of progress.

    Raises:
        StepError: if the pipeline fails with these packages.

    """
    shutil.rmtree(out, ignore_errors=True)
    root = repository.path.resolve()
    origin, spaces = Origin(str(root)), root / ".visage" / "trial-workspaces"
    private_folder(spaces.parent)
    with (
        workspace(origin, commit, spaces) as space,
        # DVC would take the results of other packages from a cache that knows them.
        tempfile.TemporaryDirectory(dir=spaces, prefix=".packages-") as cache,
    ):
        announce(f"Running the pipeline of {commit[:12]} on small data ...")
        call(_PROFILE, space.path, timedelta(minutes=1))
        began = time.monotonic()
        call_dvc([["repro"]], space.path, timeout, cache=Path(cache))
        seconds = round(time.monotonic() - began, 1)
        for name in _KEPT:
            shutil.copytree(space.path / name, out / name, symlinks=True)
        (out / _DETAILS).mkdir()
        for path in (MODEL, HOLDOUT):
            source = before / _DETAILS / Path(path).name if before else space.path / path
            if not source.is_file():
                raise StepError(f"{source}: missing; the pipeline must make {path}")
            shutil.copyfile(source, out / _DETAILS / Path(path).name)
    with workspace(origin, commit, spaces) as space:
        announce("Comparing the decisions of one model ...")
        call(_PROFILE, space.path, timedelta(minutes=1))
        shutil.copytree(out / _DETAILS, space.path / _DETAILS)
        model, holdout = (f"{_DETAILS}/{Path(path).name}" for path in (MODEL, HOLDOUT))
        command = ["python", "-m", "face_attributes", "evaluate", "--model", model, "--holdout", holdout]
        call([*command, "--out", f"{_DETAILS}/out.json", "--details", _DETAILS], space.path, _MINUTES)
        for name in _RESULTS:
            shutil.copyfile(space.path / _DETAILS / name, out / _DETAILS / name, follow_symlinks=False)
    files = [(file.size or 0) for package in distributions() for file in package.files or ()]
    installed = Installed(packages=len([*distributions()]), bytes=sum(files), seconds=seconds)
    (out / _INSTALLED).write_text(installed.model_dump_json(indent=1) + "\n")
