"""Alerts: an alarm from the check that raises it to the check that clears it.

People get a notice when an alert begins and when it ends, not for the checks between. A check without enough
data neither begins nor ends an alert.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from visage_dags.records import Drift, Episode, Past, Performance

# Each alarm has a page in docs/runbooks.
DRIFT, ACCURACY = "drift", "accuracy"
BEGINS, GOES_ON, CLEARS = "begins", "goes on", "clears"
_OPEN = (BEGINS, GOES_ON)


def raised(drift: Drift, performance: Performance) -> dict[str, bool | None]:
    """Return whether the two checks raise each alarm, or None without enough data."""
    below = performance.below_threshold
    # Earlier releases compared with the threshold alone
    if "below_release" in performance.model_fields_set:
        below = below or performance.below_release
    return {DRIFT: drift.drifted, ACCURACY: below}


def follow(
    record: Iterable[Past], run_id: str, at: datetime, found: Mapping[str, bool | None]
) -> dict[str, Episode | None]:
    """Return the alert of each alarm after a check, or None if there is no alert.

    `record` has the lines of the checks so far. Lines of this run, which may be a retry, and of later runs
    are ignored.
    """
    before = [line for line in record if line.run_id != run_id and line.at < at]
    last = max(before, key=lambda line: line.at, default=None)
    return {
        alarm: _next(last.episodes.get(alarm) if last else None, run_id, at, there)
        for alarm, there in found.items()
    }


def open_alarms(episodes: Mapping[str, Episode | None]) -> list[str]:
    """Return the alarms with an open alert."""
    return [alarm for alarm, episode in episodes.items() if episode and episode.state in _OPEN]


def _next(before: Episode | None, run_id: str, at: datetime, there: bool | None) -> Episode | None:
    if before is None or before.state not in _OPEN:
        return Episode(id=run_id, since=at, state=BEGINS) if there else None
    return before.model_copy(update={"state": CLEARS if there is False else GOES_ON})
