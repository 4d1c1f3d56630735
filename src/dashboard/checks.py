"""The monitoring checks: the record of decisions, and the evidence of each check.

The record is `monitoring/decisions.jsonl`, with a line for each check. The evidence is in
`monitoring/<run>/`. The page lists lines that cannot be read and shows the others.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from dashboard.errors import DashboardError
from gitops.errors import ParseError
from gitops.model.metrics import Interval
from gitops.text import json_values, parse, record
from gitops.text.record import Count, Moment, Number, Record, Share

log = logging.getLogger(__name__)

RECORD = "monitoring/decisions.jsonl"
EVIDENCE = "drift.json"
_LARGEST_RECORD = 64_000_000


class Column(Record):
    """The distance of a column from its reference, and its limit."""

    distance: Number
    distance_threshold: Number | None = None
    reference_mean: Number | None = None


class Evidence(Record):
    """Contents of `drift.json`: each checked column."""

    format: Literal[1] = 1
    columns: dict[str, Column]


class _Drift(Record):
    rows: Count
    enough_data: bool
    drifted: bool | None
    columns: dict[str, Column]


class _Performance(Record):
    images: Count
    threshold: Number
    limit: Number | None = None
    below_threshold: bool | None
    below_release: bool | None = None
    mean_accuracy: Share | None
    mean_accuracy_low: Share | None
    mean_accuracy_high: Share | None


class _Episode(Record):
    state: str
    since: Moment


class Line(Record):
    """A line of the record. Lines of earlier releases have neither `alarm` nor `episodes`."""

    format: Literal[1] = 1
    run_id: str
    at: Moment
    release: str
    decision: str
    reasons: list[str]
    triggered: str | None
    drift: _Drift
    performance: _Performance
    evidence: str
    alarm: list[str] = Field(default_factory=list)
    episodes: dict[str, _Episode | None] = Field(default_factory=dict)


@dataclass(frozen=True)
class Shift:
    """The distance of a column from its reference, and its limit."""

    column: str
    distance: float
    limit: float | None

    @property
    def share(self) -> float | None:
        """The distance as a multiple of the limit."""
        return json_values.number(self.distance / self.limit) if self.limit else None


@dataclass(frozen=True)
class Check:
    """A check. `drifted` is None without enough data, and `below` is None without enough labels."""

    run_id: str
    at: datetime
    decision: str
    reasons: tuple[str, ...]
    triggered: str | None
    release: str | None
    rows: int | None
    drifted: bool | None
    moved: tuple[Shift, ...]
    """The drifted columns, largest shift first."""
    largest: Shift | None
    """The largest shift of all columns, drifted or not."""
    accuracy: Interval | None
    threshold: float | None
    """The higher of the environment's threshold and the limit that is derived from the release's accuracy."""
    below: bool | None
    labels: int | None
    alarm: str | None
    """The alarms that are open after this check."""
    episodes: tuple[str, ...]
    """The state of each alarm after this check."""
    evidence: str | None
    """The name of the evidence folder in `monitoring/`."""
    report: str | None
    """The name of the evidence folder if the evidence still exists."""
    reference: Mapping[str, float]
    """The mean score of each attribute in the reference."""


@dataclass(frozen=True)
class Checks:
    """All checks, newest first, and the damaged lines (number, problem)."""

    checks: tuple[Check, ...]
    damaged: tuple[tuple[int, str], ...]

    @property
    def is_newest_damaged(self) -> bool:
        """Whether the last line of the record is damaged."""
        return bool(self.damaged) and self.damaged[-1][0] >= len(self.checks) + len(self.damaged)


def read(home: Path, since: datetime | None = None) -> Checks:
    """Return the checks of an environment, from `since` on; no checks where there is no record yet."""
    kept, (found, damaged) = set(reports(home)), lines(home)
    checks = [_check(home, line, kept) for line in found if since is None or line.at >= since]
    return Checks(tuple(sorted(checks, key=lambda check: check.at, reverse=True)), damaged)


def lines(home: Path) -> tuple[list[Line], tuple[tuple[int, str], ...]]:
    """Return the lines of the record in their order, and of each damaged line the number and the problem."""
    path = home / RECORD
    found, damaged = [], []
    try:
        content = parse.file(path, _LARGEST_RECORD)
    except FileNotFoundError:
        content = b""
    except ParseError as error:
        raise DashboardError(f"{path}: {error}") from error
    for number, text in enumerate(content.splitlines(), 1):
        if text.strip():
            try:
                found.append(record.read(Line, text))
            except ParseError as error:
                damaged.append((number, str(error)))
    return found, tuple(damaged)


def reports(home: Path) -> dict[str, Path]:
    """Return the paths of the existing evidence of the checks, by the name of their folder.

    Names that a browser sends are looked up in this dictionary and never joined to a path.
    """
    root = (home / "monitoring").resolve()
    paths = {path.parent.name: path for path in root.glob(f"*/{EVIDENCE}")}
    return {
        name: path
        for name, path in paths.items()
        if path.is_file() and path.resolve().is_relative_to(root) and not name.startswith(".")
    }


def report(home: Path, run: str) -> tuple[Shift, ...] | None:
    """Return all columns of a check, largest shift first, or None if there is no such evidence."""
    path = reports(home).get(run)
    return None if path is None else _shifts(_evidence(path))


def _check(home: Path, line: Line, kept: set[str]) -> Check:
    performance = line.performance
    moved = _shifts(line.drift.columns)
    folder = line.evidence.rpartition("/")[2]
    evidence = _evidence(home / "monitoring" / folder / EVIDENCE) if folder else {}
    shifts = _shifts(evidence) or moved
    accuracy = performance.mean_accuracy
    return Check(
        run_id=line.run_id,
        at=line.at,
        decision=line.decision,
        reasons=tuple(line.reasons),
        triggered=line.triggered,
        release=line.release,
        rows=line.drift.rows,
        drifted=line.drift.drifted,
        moved=moved,
        largest=shifts[0] if shifts else None,
        accuracy=None
        if accuracy is None
        else Interval(accuracy, performance.mean_accuracy_low, performance.mean_accuracy_high),
        threshold=performance.threshold if performance.limit is None else performance.limit,
        # Earlier releases compared with the threshold alone
        below=performance.below_threshold or performance.below_release
        if "below_release" in performance.model_fields_set
        else performance.below_threshold,
        labels=performance.images,
        alarm=", ".join(line.alarm) or None,
        episodes=tuple(
            f"{alarm} {episode.state}, since {episode.since:%Y-%m-%d}"
            for alarm, episode in line.episodes.items()
            if episode
        ),
        evidence=folder or None,
        report=folder if folder in kept else None,
        reference={
            name.removesuffix("_score"): column.reference_mean
            for name, column in evidence.items()
            if name.endswith("_score") and column.reference_mean is not None
        },
    )


def _shifts(columns: Mapping[str, Column]) -> tuple[Shift, ...]:
    shifts = (Shift(name, column.distance, column.distance_threshold) for name, column in columns.items())
    return tuple(sorted(shifts, key=lambda shift: shift.share or shift.distance, reverse=True))


def _evidence(path: Path) -> Mapping[str, Column]:
    try:
        return _columns(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return {}  # The evidence was deleted; the line of the record has the most important values
    except (OSError, ValueError, ParseError) as error:
        log.warning("%s: cannot be read: %s", path, error)
        return {}


@lru_cache(maxsize=500)
def _columns(path: Path, _written: int) -> Mapping[str, Column]:
    return record.read_file(Evidence, path).columns
