"""Watchers: they start a run when there is work, so that an idle environment runs no task.

Airflow's triggerer runs each of them. They read files that the environment has anyway: they need no git and
no database.
"""

import asyncio
import os
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import get_bundle_storage_root_path
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from gitops.airflow import task_context
from gitops.airflow.client import BUNDLE
from gitops.errors import GitopsError, ParseError
from gitops.release import health, serving
from gitops.text import record
from gitops.text.record import Record

_SECONDS = 5
_MOST_LISTED = 100
"""Airflow's database keeps each event."""
AGAIN = 600
"""Seconds after which work that still waits starts another run, because the run for it may have failed. They
double each time."""
LONGEST = 3600
"""Seconds that work waits for another run at most."""
_MOST_BATCHES = 1000
"""How many batches are looked at, the newest first."""


class Watch(BaseEventTrigger):
    """Sends an event for new work, and more and more seldom while the work waits."""

    seconds: float = _SECONDS
    again: float = AGAIN
    longest: float = LONGEST
    _problem: str | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class, as Airflow stores it."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event each time when a run should start. Its payload lists the first of the work."""
        known: Mapping[str, str] = {}
        pause, due = self.again, 0.0
        while True:
            work = await asyncio.to_thread(self._work)
            if new := work.keys() - known.keys():
                pause = self.again
            if new or (work and time.monotonic() >= due):
                due = time.monotonic() + pause
                pause = min(2 * pause, self.longest)
                yield TriggerEvent(sorted(work.values())[:_MOST_LISTED])
            known = work
            await asyncio.sleep(self.seconds)

    def _work(self) -> Mapping[str, str]:
        work: Mapping[str, str] = {}
        problem = None
        try:
            work = self.work()
        except (OSError, GitopsError) as error:
            problem = str(error)
        if problem and problem != self._problem:
            self.log.warning("%s: %s; trying again", type(self).__name__, problem)
        self._problem = problem
        return work

    @abstractmethod
    def work(self) -> Mapping[str, str]:
        """Return the work that waits: the identity of each piece, with its name.

        Raises:
            OSError: A folder cannot be read.
            GitopsError: The environment lacks a variable, or the record of its release cannot be read.

        """


class IncomingBatches(Watch):
    """Watches the folder in which batches of photographs arrive."""

    def work(self) -> dict[str, str]:
        """Return everything in the folder whose name does not begin with a dot."""
        folder = task_context.home() / "incoming"
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            # A batch of the same name that comes later is another folder.
            found = {str(entry.inode()): entry.name for entry in entries if not entry.name.startswith(".")}
        return {inode: os.fsencode(name).decode("utf-8", "backslashreplace") for inode, name in found.items()}


class UnverifiedRelease(Watch):
    """Watches for a release that has no verdict of this environment.

    A run that begins before Airflow has parsed the files of the release is one of the release before, which
    has a verdict. So a release that replaces another counts from the second look on. If that was too early,
    the next run verifies it.
    """

    again = 15
    _runs: str | None = None

    def work(self) -> dict[str, str]:
        """Return the release that runs here, if it waits for its verdict."""
        served = serving.read(get_bundle_storage_root_path() / BUNDLE)
        if served is None or served.commit is None:
            return {}
        replaced = self._runs not in (None, served.commit)
        self._runs = served.commit
        return {} if replaced or not served.unverified else {served.commit: served.commit[:12]}


class _Summary(Record):
    model_sha256: str


class UntriedBatches(Watch):
    """Watches for batches that a shadow or a canary has not scored, and for failures of a canary online."""

    seconds = 30

    def work(self) -> dict[str, str]:
        """Return the batches whose photographs are here, and the notes of the online service."""
        served = serving.read(get_bundle_storage_root_path() / BUNDLE)
        if served is None or served.trial is None:
            return {}
        home = task_context.home()
        folder = home / "shadows" / served.trial[:12]
        known = {path.stem for path in folder.glob("date=*/*.parquet")}
        known |= {path.name for notes in ("failed", "unpaired") for path in (folder / notes).glob("*")}
        summaries = sorted((home / "scores").glob("date=*/*.json"), reverse=True)[:_MOST_BATCHES]
        found = [
            path.stem
            for path in summaries
            if path.stem not in known
            and (home / "scored" / path.stem).is_dir()
            and _model_of(path) in served.trial_models
        ]
        found += [path.name for path in (folder / "failed").glob("online-*")]
        return dict(zip(found, found, strict=True))


def _model_of(summary: Path) -> str | None:
    """Return the digest of the model in the summary of a batch; None if it cannot be read."""
    try:
        return record.read_file(_Summary, summary).model_sha256
    except (OSError, ParseError):
        return None


class HealthOfRelease(BaseTrigger):
    """Waits for the result of the watch over a release, for a task of its verification."""

    seconds: float = _SECONDS

    def __init__(self, release: str) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType] its kwargs have no type
        self.release = release

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as Airflow stores them."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"release": self.release}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the state, the checks and the release that runs meanwhile, once there is a result."""
        while (found := await asyncio.to_thread(self._result)) is None:
            await asyncio.sleep(self.seconds)
        yield TriggerEvent(found)

    def known(self) -> dict[str, Any] | None:
        """Return the state and the checks if the watch is over, for whoever can read its file; else None."""
        try:
            found = health.read(get_bundle_storage_root_path() / BUNDLE)
        except GitopsError:
            return None  # The triggerer reports it
        return None if found is None or self.release not in found.releases else _event(found)

    def _result(self) -> dict[str, Any] | None:
        folder = get_bundle_storage_root_path() / BUNDLE
        try:
            found, served = health.read(folder), serving.read(folder)
        except GitopsError as error:
            self.log.warning("%s; trying again", error)
            return None
        if found is None or self.release not in found.releases:
            runs = served is not None and served.commit == self.release
            # Without a watch there is nothing to wait for, as in `airflow dags test`.
            return {"state": "unwatched" if found is None or runs else "replaced", "checks": []}
        return _event(found)


def _event(found: health.Health) -> dict[str, Any] | None:
    """Return the result of a watch; None while it goes on."""
    if found.state not in health.FINAL:
        return None
    return {"state": found.state, "checks": [check.model_dump(mode="json") for check in found.all_checks]}
