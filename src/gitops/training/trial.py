"""A trial: the pipeline of a commit, from raw images to metrics, on small data.

It shows whether a change works, and its effect on the metrics compared with the commit that it started from.
How good a model is, only the full data show.
"""

import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import TypeAdapter, ValidationError

from gitops import atomic
from gitops.dvc.run import call, call_dvc
from gitops.errors import GitopsError, ParseError, StepError
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, workspace
from gitops.model.metrics import Metrics, of_folder
from gitops.paths import LOCK
from gitops.private import private_folder
from gitops.release.file import RELEASE_PATHS
from gitops.text import parse
from gitops.training import experiments
from gitops.training.experiments import Experiment, Experiments

log = logging.getLogger(__name__)

HEAD, BASE, TIMING = "head", "base", "timing.json"
_PROFILE = ("python", "-m", "face_attributes", "profile")
_REPRO = ("repro",)
_KEPT = ("metrics", "plots")
# The sources of a pipeline's results: commits with equal sources get equal metrics.
_MADE_FROM = (
    *(path for path in RELEASE_PATHS if path not in ("dags", LOCK)),
    "params.small.yaml",
    "data",
)
_PICTURES = ("*.jpg", "*.png")
_LARGEST = 65_536
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Trial:
    """The results of the trials of a change and of the commit that it started from."""

    head: Metrics
    base: Metrics
    """Empty where the base could not be tried."""
    seconds: dict[str, float]
    experiments: tuple[tuple[Experiment, Metrics], ...] = ()
    """The runs of `experiments.yaml`, with the metrics of each."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the results of `run` in `folder`.

        Raises:
            GitopsError: if that is not there.

        """
        if not (folder / HEAD).is_dir():
            raise GitopsError(f"{folder}: no trial there; make one: .venv/bin/gitops trial --out {folder}")
        index = experiments.load(folder)
        sides = [HEAD, BASE, *(f"{experiments.FOLDER}/{number}" for number in range(len(index)))]
        for side in sides:
            if not (folder / side).resolve().is_relative_to(folder.resolve()):
                raise GitopsError(f"{folder / side}: leads out of {folder}")
        head, base, *others = (of_folder(folder / side) for side in sides)
        return cls(head, base, load_seconds(folder / TIMING), tuple(zip(index, others, strict=True)))


def load_seconds(path: Path) -> dict[str, float]:
    """Read how long the parts of a run took: a JSON object of names to seconds.

    Raises:
        GitopsError: if it is not a folder of trial results.

    """
    try:
        return TypeAdapter(dict[str, float]).validate_json(parse.file(path, _LARGEST))
    except ParseError as error:
        raise GitopsError(f"{path}: {error}") from error
    except OSError as error:
        raise GitopsError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise GitopsError(f"{path}: not a JSON object of names to seconds") from error


def run(
    repository: Repository,
    head: str,
    base: str | None,
    out: Path,
    *,
    timeout: timedelta = timedelta(hours=1),
    announce: Callable[[str], None] = log.info,
) -> None:
    """Try the commits `head` and `base` and leave metrics, plots and times in the folder `out`.

    Each runs in a temporary clone with its own code, and with the DVC cache of the checkout. The results
    stay in `.visage/trials` by the inputs of the run, and are not computed again. A base that cannot be
    tried, perhaps because `head` repairs it, is announced and left out.

    Raises:
        StepError: if `head` fails, or takes longer than `timeout`.

    """
    matrix = _matrix(repository, head, base)
    for name in (HEAD, BASE, experiments.FOLDER):
        shutil.rmtree(out / name, ignore_errors=True)
    (out / experiments.INDEX).unlink(missing_ok=True)
    seconds: dict[str, float] = {}
    if base is not None and base != head:
        announce(f"Trying {base[:12]}, which the change started from ...")
        try:
            seconds["pipeline on small data, before"] = _try(repository, base, out / BASE, timeout, announce)
        except StepError as error:
            announce(f"{base[:12]} cannot be tried: {error}")
    announce(f"Trying {head[:12]} ...")
    seconds["pipeline on small data, after"] = _try(repository, head, out / HEAD, timeout, announce)
    (out / TIMING).write_text(json.dumps(seconds, indent=1) + "\n")
    found: list[Experiment] = []
    for number, values in enumerate(matrix):
        named = experiments.texts(values)
        shown = ", ".join(f"{name}={value}" for name, value in named.items())
        announce(f"Experiment {number + 1} of {len(matrix)}: {shown}")
        target = out / experiments.FOLDER / str(number)
        try:
            found.append(
                Experiment(values=named, seconds=_try(repository, head, target, timeout, announce, values))
            )
        except StepError as error:
            found.append(Experiment(values=named, problem=experiments.problem(error)))
            announce(f"It failed: {error}")
    if found:
        experiments.write(out, found)


def _matrix(repository: Repository, head: str, base: str | None) -> list[dict[str, Any]]:
    """Return the combinations of `experiments.yaml`, if `head` has another one than `base`."""
    content = repository.read(head, experiments.FILE)
    if content is None or (base is not None and content == repository.read(base, experiments.FILE)):
        return []
    return Experiments.parse(content).combinations()


def _try(
    repository: Repository,
    commit: str,
    out: Path,
    timeout: timedelta,
    announce: Callable[[str], None],
    values: Mapping[str, Any] | None = None,
) -> float:
    root = repository.path.resolve()
    known = root / ".visage" / "trials" / _identity(repository, commit, values)
    if known.is_dir():
        announce(f"{commit[:12]} has the same inputs as an earlier trial.")
    else:
        _run(root, commit, known, timeout, values)
    shutil.copytree(known, out, ignore=shutil.ignore_patterns(TIMING))
    return load_seconds(known / TIMING)["dvc repro"]


def _identity(repository: Repository, commit: str, values: Mapping[str, Any] | None) -> str:
    ids = repository.object_ids([f"{commit}:{path}" for path in _MADE_FROM])
    sources = [*map(str, ids), *([json.dumps(values, sort_keys=True)] if values else [])]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()


def _run(root: Path, commit: str, target: Path, timeout: timedelta, values: Mapping[str, Any] | None) -> None:
    """Run the pipeline of a commit, and leave the folder `target` in one step."""
    # Without the configuration of the person: the pipeline makes everything itself, and needs no remote.
    origin, cache = Origin(str(root)), private_folder(root / ".dvc" / "cache")
    private_folder(target.parent)
    with (
        workspace(origin, commit, root / ".visage" / "trial-workspaces") as space,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".trial-") as folder,
    ):
        call([*_PROFILE, "small"], space.path, _MINUTE)
        if values:
            # A rename replaces a link of the commit, and does not follow it.
            overlay = yaml.safe_dump(experiments.overlay(values))
            atomic.write(space.path / f"params.{experiments.FOLDER}.yaml", overlay, mode=0o644)
            call([*_PROFILE, experiments.FOLDER], space.path, _MINUTE)
        began = time.monotonic()
        call_dvc([_REPRO], space.path, timeout, cache=cache)
        took = round(time.monotonic() - began, 1)
        made = Path(folder) / "made"
        made.mkdir()
        (made / TIMING).write_text(json.dumps({"dvc repro": took}) + "\n")
        for name in _KEPT:
            if (space.path / name).is_dir():
                # Pictures may show photographs, and nothing reads them from here.
                shutil.copytree(
                    space.path / name, made / name, symlinks=True, ignore=shutil.ignore_patterns(*_PICTURES)
                )
        if not target.is_dir():
            made.rename(target)
