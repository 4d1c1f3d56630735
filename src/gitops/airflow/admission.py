"""Admission: the checks of a release before it takes the place of another one.

Its DAG files are loaded, and its code and model score a few images, each in an isolated process, see
`gitops.isolation`. A check that the release before fails too, or without one an empty folder of DAG files,
does not count against the new one: then the environment is ill, and there is no verdict. A check that takes
too long, or that the system kills, is made twice; a first release, with nothing to compare, is not blamed.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from gitops import disk
from gitops.diff import dags
from gitops.errors import (
    DagsError,
    GateError,
    GitError,
    ModelError,
    NoModelError,
    StorageError,
    UnfinishedDagsError,
    UnfinishedModelError,
)
from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.model import sample
from gitops.release import checks
from gitops.release.checks import Check

log = logging.getLogger(__name__)

_MOST_NAMED = 3
Result = TypeVar("Result")


@dataclass(frozen=True)
class Admission:
    """The result of the checks. `trouble` is the reason why the environment could not make them."""

    checks: tuple[Check, ...] = ()
    trouble: str | None = None

    @property
    def objection(self) -> str:
        """The checks that failed, as one line, or ""."""
        return "" if self.trouble else checks.failures(self.checks)


Examine = Callable[[Repository, str, str | None, Path], Admission]


class _TroubleError(Exception):
    """The environment could not make a check."""


def examine(repository: Repository, release: str, before: str | None, folder: Path) -> Admission:
    """Check a release before it runs.

    Args:
        repository: The environment's own copy of the repository.
        release: The commit.
        before: The release that runs now; None where there is none.
        folder: The folder for temporary files.

    """
    if full := disk.trouble([folder]):
        return Admission(trouble=full)
    try:
        with (
            TemporaryDirectory(dir=folder, prefix=".admission-", ignore_cleanup_errors=True) as work,
            ThreadPoolExecutor(2) as pool,
        ):
            loading = pool.submit(_dags, repository, release, before)
            scoring = pool.submit(_model, repository, release, before, Path(work))
            return Admission((loading.result(), *scoring.result()))
    except _TroubleError as error:
        return Admission(trouble=str(error))
    except OSError as error:
        return Admission(trouble=f"{error.filename or folder}: {error.strerror}")


def _dags(repository: Repository, release: str, before: str | None) -> Check:
    limit = "all load"
    try:
        found = _twice(lambda: dags.load(repository, release))
    except DagsError as error:
        if before is not None:
            try:
                dags.load(repository, before)
            except DagsError as other:
                raise _TroubleError(f"{other}; so do those of {before[:12]}, which runs") from other
        else:
            _require_evidence(error)
        return Check(name="DAG files", value=str(error), limit=limit, result="failed")
    known = _known_errors(repository, before) if found.errors and before else {}
    new = [f"{dags.FOLDER}/{file}: {why}" for file, why in sorted(found.errors.items()) if file not in known]
    if new:
        more = f" and {len(new) - _MOST_NAMED} more" if len(new) > _MOST_NAMED else ""
        value = "; ".join(new[:_MOST_NAMED]) + more
        return Check(name="DAG files", value=value, limit=limit, result="failed")
    value = f"{len(found.dags)} DAGs" + (f", {len(known)} files as broken as before" if known else "")
    return Check(name="DAG files", value=value, limit=limit, result="passed")


def _twice(check: Callable[[], Result]) -> Result:
    """Make a check, and once more if it took too long or was killed."""
    try:
        return check()
    except (UnfinishedDagsError, UnfinishedModelError) as error:
        log.warning("%s; trying it again", error)
        return check()


def _require_evidence(error: Exception) -> None:
    """Refuse to blame a first release for a failure that this machine may be the reason of."""
    if isinstance(error, (UnfinishedDagsError, UnfinishedModelError)):
        why = "tried twice, and there is no release before to compare with"
        raise _TroubleError(f"{error}; {why}") from error
    if ill := dags.trouble():
        raise _TroubleError(f"{ill}, even without a file in it") from error


def _known_errors(repository: Repository, before: str) -> dict[str, str]:
    try:
        return dags.load(repository, before).errors
    except DagsError:
        return {}


def _model(repository: Repository, release: str, before: str | None, work: Path) -> tuple[Check, ...]:
    """Return the check of the model; none for a release without one."""
    origin, limit = Origin(str(repository.path)), "all scored"
    try:
        folders = iter((work / "new", work / "again"))
        images, seconds = _twice(lambda: sample.score(origin, release, folder=next(folders)))
    except NoModelError:
        return ()
    except (StorageError, GitError) as error:
        raise _TroubleError(str(error)) from error
    except (ModelError, GateError) as error:
        if full := disk.trouble([work]):
            raise _TroubleError(full) from error
        if before is not None and (same := _fails_before(origin, before, work / "before")):
            raise _TroubleError(f"{same}; the release before, {before[:12]}, fails too") from error
        if before is None:
            _require_evidence(error)
        return (Check(name="sample of images", value=str(error), limit=limit, result="failed"),)
    value = f"{images} images in {seconds:.1f} s"
    return (Check(name="sample of images", value=value, limit=limit, result="passed"),)


def _fails_before(origin: Origin, before: str, work: Path) -> str | None:
    try:
        sample.score(origin, before, folder=work)
    except NoModelError:
        return None
    except (StorageError, GitError, ModelError, GateError) as error:
        return str(error)
    return None
