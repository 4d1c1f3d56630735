"""What was scored, day by day, from the figures that scoring leaves beside each batch's scores.

Nothing is read of the scores themselves: a year of batches is some thousand small files, and a day whose
files have not changed is not read twice.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal

from gitops.errors import ParseError
from gitops.text import json_values, record
from gitops.text.record import Count, Record, Share

_FOLDER = "date="


class _Scores(Record):
    mean_score: Share
    positive: Share


class Batch(Record):
    """Contents of `scores/date=<day>/<batch>.json`: the counts and mean scores of a batch."""

    format: Literal[1] = 1
    rows: Count
    quarantined: dict[str, Count]
    attributes: dict[str, _Scores]


@dataclass(frozen=True)
class Day:
    """What was scored on one day, or in all of several: images, and per attribute the mean score.

    `mean_scores` are means over images, 0 to 1. `without` counts batches that have scores and no figures, of
    which an earlier release knew nothing; `damaged` has a line for each file that cannot be read.
    """

    day: date
    batches: int = 0
    rows: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    mean_scores: Mapping[str, float] = field(default_factory=dict)
    positive: Mapping[str, float] = field(default_factory=dict)
    without: int = 0
    damaged: tuple[str, ...] = ()

    @property
    def bad(self) -> int:
        return sum(self.quarantined.values())


def read(home: Path, since: date, until: date) -> list[Day]:
    """Return the days, `since` through `until`, on which something was scored, oldest first."""
    scores = home / "scores"
    if not scores.is_dir():
        return []
    found = []
    for entry in os.scandir(scores):
        day = json_values.day(entry.name.removeprefix(_FOLDER)) if entry.name.startswith(_FOLDER) else None
        if day is not None and since <= day <= until and entry.is_dir():
            files = sorted(
                (file.name, file.stat().st_mtime_ns, file.stat().st_size)
                for file in os.scandir(entry.path)
                if not file.name.startswith(".") and file.is_file()
            )
            found.append(_read(day, entry.path, tuple(files)))
    return sorted(
        (day for day in found if day.batches or day.without or day.damaged), key=lambda day: day.day
    )


@lru_cache(maxsize=2000)
def _read(day: date, folder: str, files: tuple[tuple[str, int, int], ...]) -> Day:
    names = {name for name, _, _ in files}
    batches, damaged = [], []
    for name in sorted(name for name in names if name.endswith(".json")):
        try:
            batches.append(_batch(day, Path(folder, name).read_bytes()))
        except (OSError, ParseError) as error:
            damaged.append(f"{Path(folder).name}/{name}: {error}")
    alone = sum(f"{Path(name).stem}.json" not in names for name in names if name.endswith(".parquet"))
    merged = merge(day, batches)
    return Day(
        day,
        len(batches),
        merged.rows,
        merged.quarantined,
        merged.mean_scores,
        merged.positive,
        alone,
        tuple(damaged),
    )


def _batch(day: date, content: bytes) -> Day:
    batch = record.read(Batch, content)
    return Day(
        day,
        1,
        batch.rows,
        {reason: count for reason, count in batch.quarantined.items() if count},
        {name: row.mean_score for name, row in batch.attributes.items()},
        {name: row.positive for name, row in batch.attributes.items()},
    )


def merge(day: date, days: Iterable[Day]) -> Day:
    """Return several days, or batches, as one that is called `day`; means weigh each image the same."""
    days = list(days)
    quarantined: Counter[str] = Counter()
    for one in days:
        quarantined.update(one.quarantined)
    return Day(
        day,
        sum(one.batches for one in days),
        sum(one.rows for one in days),
        dict(quarantined),
        _means((one.rows, one.mean_scores) for one in days),
        _means((one.rows, one.positive) for one in days),
        sum(one.without for one in days),
        tuple(name for one in days for name in one.damaged),
    )


def weekly(days: Iterable[Day]) -> list[Day]:
    """Return days as weeks, each called by its Monday."""
    weeks: dict[date, list[Day]] = {}
    for one in days:
        weeks.setdefault(one.day - timedelta(days=one.day.weekday()), []).append(one)
    return [merge(monday, weeks[monday]) for monday in sorted(weeks)]


def _means(parts: Iterable[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for rows, means in parts:
        for name, value in means.items() if rows else ():
            sums[name] = sums.get(name, 0.0) + rows * value
            counts[name] = counts.get(name, 0) + rows
    return {name: total / counts[name] for name, total in sums.items()}
