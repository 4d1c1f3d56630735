"""The watch over a release since it took the place of another one, kept in `health.json`.

The dag-processor takes a step at every refresh of the bundle. So a release whose own DAGs are broken is
watched like any other.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gitops import disk
from gitops.airflow.health import Observation, judge
from gitops.errors import ReleaseError
from gitops.release import health
from gitops.release.checks import Check
from gitops.release.health import Health
from gitops.release.settings import Settings

log = logging.getLogger(__name__)

Observe = Callable[[Health, datetime], Observation]


def from_database(watch: Health, now: datetime) -> Observation:
    """Return the signs in Airflow's database."""
    # Here, since every task loads the class of the bundle, and none has the database
    from gitops.airflow import observe

    return observe.observe(watch, now)


class HealthWatch:
    """The watch of one environment.

    Args:
        folder: The folder of the bundle.
        observe: Returns the signs of the environment; None to watch nothing.

    """

    def __init__(self, folder: Path, observe: Observe | None) -> None:
        self._folder = folder
        self._observe = observe

    @property
    def present(self) -> Health | None:
        """The last watch; None before the first, and where its file is damaged."""
        try:
            return health.read(self._folder)
        except ReleaseError:
            return None  # `step` begins again

    def known_errors(self) -> list[str] | None:
        """Return the DAG files that cannot be imported now, before another release comes."""
        from sqlalchemy.exc import SQLAlchemyError

        from gitops.airflow import observe

        if self._observe is None:
            return None
        try:
            return sorted(observe.import_errors())
        except SQLAlchemyError:
            return None  # The first step that reads the database finds them

    def begin(
        self, release: str, before: str | None, known: list[str] | None, admitted: Sequence[Check]
    ) -> None:
        """Begin to watch a release that has just taken the place of another one, or is the first."""
        if self._observe is None:
            return
        watch = self._new(release, before, known, admitted)
        if before is None:
            # There are no earlier runs to compare the first release with, and no release to go back to.
            watch = watch.model_copy(update={"until": watch.since})
        health.write(self._folder, watch)

    def _new(
        self, release: str, before: str | None, known: list[str] | None, admitted: Sequence[Check]
    ) -> Health:
        now = datetime.now(UTC)
        return Health(
            releases=[release],
            before=before,
            since=now,
            until=now + timedelta(minutes=Settings.from_environ().health_minutes),
            known_errors=known,
            admitted=list(admitted),
        )

    def go_on(self, before: str, release: str) -> None:
        """Watch another commit of the same release as well, if the commit before it is watched."""
        watch = self.present
        if watch is not None and before in watch.releases and release not in watch.releases:
            health.write(self._folder, watch.model_copy(update={"releases": [*watch.releases, release]}))

    def step(self, release: str, ill: Iterable[str], *, verified: bool, rejected: bool) -> Health | None:
        """Look at the environment, and return the watch over a release; None if it is not watched.

        Args:
            release: The commit that is served.
            ill: The faults that the caller knows.
            verified: Whether the environment verified the release.
            rejected: Whether it rejected the release.

        """
        self._repair(release, judged=verified or rejected)
        watch = self.present
        if self._observe is None or watch is None or release not in watch.releases:
            return None
        if watch.state == "failed" and watch.rejected and not rejected:
            # Somebody deleted the rejection, to give the release another chance.
            watch = self._new(release, watch.before, watch.known_errors, watch.admitted)
        elif watch.state in health.FINAL:
            if rejected and not watch.rejected:
                health.write(self._folder, watch.model_copy(update={"rejected": True}))
            return watch
        now = datetime.now(UTC)
        if now < watch.since:
            # The clock was ahead when the watch began, and was set back: no run would count for long.
            watch = watch.model_copy(update={"since": now, "until": now + (watch.until - watch.since)})
        seen = self._observe(watch, now)
        home = Path(os.environ.get("VISAGE_HOME", self._folder))
        # On Kubernetes the dag-processor does not have the data folder.
        full = disk.trouble([self._folder, home if home.is_dir() else self._folder])
        troubles = (*seen.ill, *ill, *([full] if full else []))
        if watch.known_errors is None and not seen.ill:
            # The files were broken when this first could be read: nobody knows since when.
            watch = watch.model_copy(update={"known_errors": sorted(seen.import_errors)})
            seen = replace(seen, import_errors={})
        seen = replace(seen, ill=troubles)
        found = judge(seen, over=now >= watch.until, slowest=Settings.from_environ().max_latency_ratio)
        update = {"state": found.state, "checks": list(found.checks), "ill": found.ill}
        fresh = watch.model_copy(update=update)
        if fresh != self.present:
            health.write(self._folder, fresh)
        return fresh

    def _repair(self, release: str, *, judged: bool) -> None:
        """Begin again where the file cannot be read: a verification waits for its result."""
        if self._observe is None:
            return
        try:
            health.read(self._folder)
        except ReleaseError as error:
            log.warning("%s", error)
            if judged:
                (self._folder / health.FILE).unlink(missing_ok=True)
            else:
                health.write(self._folder, self._new(release, None, None, ()))
