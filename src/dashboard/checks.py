"""The checks of monitoring: the record of what was decided, and the evidence beside it.

The record is `monitoring/decisions.jsonl`, a line for each check; its evidence is in `monitoring/<run>/`.
Keys that are not known here are passed over, and a line that cannot be read is shown as that.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from gitops.model.metrics import Interval
from gitops.text import json_values

log = logging.getLogger(__name__)

RECORD = "monitoring/decisions.jsonl"
REPORT = "drift.html"


@dataclass(frozen=True)
class Shift:
    """How far a column is from its reference, in the unit of its limit."""

    column: str
    distance: float
    limit: float | None

    @property
    def share(self) -> float | None:
        """The distance as a multiple of what is allowed."""
        return json_values.number(self.distance / self.limit) if self.limit else None


@dataclass(frozen=True)
class Check:
    """One check. `drifted` and `below` are None where there was not enough data, or labels, to say."""

    run_id: str
    at: datetime
    decision: str
    reasons: tuple[str, ...]
    triggered: str | None
    release: str | None
    rows: int | None
    drifted: bool | None
    moved: tuple[Shift, ...]
    """The columns that moved, furthest first."""
    largest: Shift | None
    """The largest shift of all columns, also of those that moved by less than counts."""
    accuracy: Interval | None
    threshold: float | None
    """The higher of the environment's threshold and the limit that the release's own accuracy sets."""
    below: bool | None
    labels: int | None
    alarm: str | None
    """Which alarms are open after this check."""
    episodes: tuple[str, ...]
    """What became of each alarm's episode with this check."""
    evidence: str | None
    """The name of the folder of its evidence in `monitoring/`."""
    report: str | None
    """The same, where its Evidently report is kept."""
    reference: Mapping[str, float]
    """The mean score of each attribute in the reference that was compared with."""


@dataclass(frozen=True)
class Record:
    """All checks, newest first, and the lines (number, what is wrong) that are none."""

    checks: tuple[Check, ...]
    damaged: tuple[tuple[int, str], ...]


def read(home: Path, since: datetime | None = None) -> Record:
    """Return the record of an environment, from `since` on; an empty one where there is none yet."""
    try:
        content = (home / RECORD).read_bytes()
    except FileNotFoundError:
        return Record((), ())
    kept = set(reports(home))
    checks, damaged = [], []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            at = json_values.moment(data["at"])
            if at is None:
                raise ValueError("at: not a time")
            if since is None or at >= since:
                checks.append(_check(home, data, at, kept))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            damaged.append((number, f"{type(error).__name__}: {error}"[:120]))
    return Record(tuple(sorted(checks, key=lambda check: check.at, reverse=True)), tuple(damaged))


def reports(home: Path) -> dict[str, Path]:
    """Return the Evidently reports that are kept, by the name of their folder.

    A name that a browser sends is looked up here and never made a path of.
    """
    root = (home / "monitoring").resolve()
    found = {path.parent.name: path for path in root.glob(f"*/{REPORT}")}
    return {
        name: path
        for name, path in found.items()
        if path.is_file() and path.resolve().is_relative_to(root) and not name.startswith(".")
    }


def _check(home: Path, data: dict[str, Any], at: datetime, kept: set[str]) -> Check:
    drift, performance = json_values.mapping(data.get("drift")), json_values.mapping(data.get("performance"))
    moved = _shifts(drift.get("columns"))
    folder = (json_values.text(data.get("evidence")) or "").rpartition("/")[2]
    evidence = _evidence(home / "monitoring" / folder / "drift.json") if folder else {}
    shifts = _shifts(evidence) or moved
    accuracy = json_values.number(performance.get("mean_accuracy"))
    return Check(
        run_id=str(data.get("run_id", "")),
        at=at,
        decision=json_values.text(data.get("decision")) or "not said",
        reasons=json_values.texts(data.get("reasons")),
        triggered=json_values.text(data.get("triggered")),
        release=json_values.text(data.get("release")),
        rows=json_values.whole(drift.get("rows")),
        drifted=json_values.flag(drift.get("drifted")),
        moved=moved,
        largest=shifts[0] if shifts else None,
        accuracy=None
        if accuracy is None
        else Interval(
            accuracy,
            json_values.number(performance.get("mean_accuracy_low")),
            json_values.number(performance.get("mean_accuracy_high")),
        ),
        threshold=json_values.number(performance.get("limit", performance.get("threshold"))),
        below=json_values.flag(
            performance.get("below_threshold")
            or performance.get("below_release", performance.get("below_threshold"))
        ),
        labels=json_values.whole(performance.get("images")),
        alarm=_said(data.get("alarm")),
        episodes=tuple(_episodes(data.get("episodes"))),
        evidence=folder or None,
        report=folder if folder in kept else None,
        reference=dict(_reference(evidence)),
    )


def _episodes(value: object) -> Iterator[str]:
    for alarm, episode in json_values.mapping(value).items():
        state = json_values.text(json_values.mapping(episode).get("state"))
        since = json_values.moment(json_values.mapping(episode).get("since"))
        if state:
            yield f"{alarm} {state}{f', since {since:%Y-%m-%d}' if since else ''}"


def _said(value: object) -> str | None:
    """Return what a key that not every release writes says, as words; None where it says no."""
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or None
    return "yes" if value is True else str(value) if value not in (None, False, "") else None


def _shifts(columns: object) -> tuple[Shift, ...]:
    found = []
    for name, row in json_values.mapping(columns).items():
        distance = json_values.number(json_values.mapping(row).get("distance"))
        if distance is not None:
            found.append(Shift(name, distance, json_values.number(row.get("distance_threshold"))))
    return tuple(sorted(found, key=lambda shift: shift.share or shift.distance, reverse=True))


def _reference(columns: object) -> Iterator[tuple[str, float]]:
    for name, row in json_values.mapping(columns).items():
        mean = json_values.number(json_values.mapping(row).get("reference_mean"))
        if name.endswith("_score") and mean is not None:
            yield name.removesuffix("_score"), mean


def _evidence(path: Path) -> dict[str, Any]:
    try:
        return _columns(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return {}  # Somebody tidied up; the line of the record says the most of it
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s: cannot be read: %s", path, error)
        return {}


@lru_cache(maxsize=500)
def _columns(path: Path, _written: int) -> dict[str, Any]:
    return json_values.mapping(json_values.mapping(json.loads(path.read_bytes())).get("columns"))
