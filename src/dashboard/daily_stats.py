"""Daily statistics of scored images, from the summary that scoring writes beside the scores of each batch.

The scores themselves are not read. A year of batches has some thousand small summaries, and a day is read
again only if its files changed.
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
from gitops.text import json_values, parse, record
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
class DailyStats:
    """Statistics of the images that were scored on a day, or over several days.

    Attributes:
        day: The day, or the name of the period, such as its Monday.
        batches: The number of batches with a summary.
        rows: The number of scored images.
        quarantined: The number of images in quarantine, by reason.
        mean_scores: The mean score of each attribute over the images, 0 to 1.
        positive: The share of images that are predicted to have each attribute.
        without: The number of batches without a summary, scored by an earlier release.
        damaged: A line for each file that cannot be read.

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
        """The number of images in quarantine."""
        return sum(self.quarantined.values())


def read(home: Path, since: date, until: date) -> list[DailyStats]:
    """Return the statistics of each day from `since` to `until` that has batches, oldest first."""
    scores = home / "scores"
    if not scores.is_dir():
        return []
    days = []
    for entry in os.scandir(scores):
        day = json_values.day(entry.name.removeprefix(_FOLDER)) if entry.name.startswith(_FOLDER) else None
        if day is not None and since <= day <= until and entry.is_dir():
            files = sorted(
                (file.name, file.stat().st_mtime_ns, file.stat().st_size)
                for file in os.scandir(entry.path)
                if not file.name.startswith(".") and not file.is_dir(follow_symlinks=False)
            )
            days.append(_read(day, entry.path, tuple(files)))
    return sorted((day for day in days if day.batches or day.without or day.damaged), key=lambda day: day.day)


@lru_cache(maxsize=2000)
def _read(day: date, folder: str, files: tuple[tuple[str, int, int], ...]) -> DailyStats:
    names = {name for name, _, _ in files}
    batches, damaged = [], []
    for name in sorted(name for name in names if name.endswith(".json")):
        try:
            batches.append(_batch(day, parse.file(Path(folder, name), record.LARGEST)))
        except (OSError, ParseError) as error:
            damaged.append(f"{Path(folder).name}/{name}: {error}")
    without = sum(f"{Path(name).stem}.json" not in names for name in names if name.endswith(".parquet"))
    merged = merge(day, batches)
    return DailyStats(
        day,
        len(batches),
        merged.rows,
        merged.quarantined,
        merged.mean_scores,
        merged.positive,
        without,
        tuple(damaged),
    )


def _batch(day: date, content: bytes) -> DailyStats:
    batch = record.read(Batch, content)
    return DailyStats(
        day,
        1,
        batch.rows,
        {reason: count for reason, count in batch.quarantined.items() if count},
        {name: row.mean_score for name, row in batch.attributes.items()},
        {name: row.positive for name, row in batch.attributes.items()},
    )


def merge(day: date, days: Iterable[DailyStats]) -> DailyStats:
    """Merge several days or batches into one, named `day`. Each image has the same weight."""
    days = list(days)
    quarantined: Counter[str] = Counter()
    for stats in days:
        quarantined.update(stats.quarantined)
    return DailyStats(
        day,
        sum(stats.batches for stats in days),
        sum(stats.rows for stats in days),
        dict(quarantined),
        _means((stats.rows, stats.mean_scores) for stats in days),
        _means((stats.rows, stats.positive) for stats in days),
        sum(stats.without for stats in days),
        tuple(name for stats in days for name in stats.damaged),
    )


def weekly(days: Iterable[DailyStats]) -> list[DailyStats]:
    """Merge days into weeks, each named by its Monday."""
    weeks: dict[date, list[DailyStats]] = {}
    for stats in days:
        weeks.setdefault(stats.day - timedelta(days=stats.day.weekday()), []).append(stats)
    return [merge(monday, weeks[monday]) for monday in sorted(weeks)]


def _means(parts: Iterable[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for rows, means in parts:
        for name, value in means.items() if rows else ():
            sums[name] = sums.get(name, 0.0) + rows * value
            counts[name] = counts.get(name, 0) + rows
    return {name: total / counts[name] for name, total in sums.items()}
