"""Episodes: an alarm from the check that raises it to the check that finds it gone.

People are told of its beginning and of its end, not of every check between. A check that has not enough data
ends no episode and begins none.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

# Each has a page in docs/runbooks.
DRIFT, ACCURACY = "drift", "accuracy"
BEGINS, GOES_ON, CLEARS = "begins", "goes on", "clears"
_OPEN = (BEGINS, GOES_ON)


def raised(drift: Mapping[str, Any], performance: Mapping[str, Any]) -> dict[str, bool | None]:
    """What two checks say of each alarm; None where they cannot tell."""
    below = performance["below_threshold"]
    # Verdicts of earlier releases have no `below_release`
    return {DRIFT: drift["drifted"], ACCURACY: below or performance.get("below_release", below)}


def follow(
    record: Iterable[Mapping[str, Any]], run_id: str, at: datetime, found: Mapping[str, bool | None]
) -> dict[str, dict[str, str] | None]:
    """The episode of each alarm after a check: its `id` (the run that began it), `since` and `state`.

    `record` are the lines of the checks so far; those of this run, which may be retried, and of later ones do
    not count. None where there is no episode.
    """
    before = [line for line in record if line["run_id"] != run_id and _at(line) < at]
    last = max(before, key=_at, default=None)
    return {
        alarm: _next((last or {}).get("episodes", {}).get(alarm), run_id, at, there)
        for alarm, there in found.items()
    }


def open_alarms(episodes: Mapping[str, Mapping[str, str] | None]) -> list[str]:
    """The alarms whose episodes are not over."""
    return [alarm for alarm, episode in episodes.items() if episode and episode["state"] in _OPEN]


def _next(
    before: Mapping[str, str] | None, run_id: str, at: datetime, there: bool | None
) -> dict[str, str] | None:
    if before is None or before["state"] not in _OPEN:
        return {"id": run_id, "since": at.isoformat(), "state": BEGINS} if there else None
    return {**before, "state": CLEARS if there is False else GOES_ON}


def _at(line: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(line["at"])
