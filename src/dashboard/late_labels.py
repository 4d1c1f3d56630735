"""Accuracy on late labels for each attribute and slice, from the latest check with enough labels."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from dashboard.checks import Check
from dashboard.model_card import Row
from gitops.errors import ParseError
from gitops.model.metrics import Interval
from gitops.text import record
from gitops.text.record import Count, Record, Share

log = logging.getLogger(__name__)

EVIDENCE = "performance.json"


class _Accuracy(Record):
    accuracy: Share | None
    accuracy_low: Share | None
    accuracy_high: Share | None
    positives: Share | None = None
    """For an attribute: the share of images that have it."""
    count: Count | None = None
    """For a slice: the number of images."""


class Performance(Record):
    """Contents of `performance.json`. Files of earlier releases have no slices."""

    format: Literal[1] = 1
    images: Count
    per_attribute: dict[str, _Accuracy]
    slices: dict[str, _Accuracy] = Field(default_factory=dict)


@dataclass(frozen=True)
class LateLabels:
    """The accuracy on `images` with late labels, worst first."""

    at: datetime
    images: int
    attributes: tuple[Row, ...]
    slices: tuple[Row, ...]


def read(home: Path, checks: Sequence[Check]) -> LateLabels | None:
    """Return the results of the first of `checks` that has an accuracy.

    Returns None if no check has an accuracy, or if its evidence cannot be read.
    """
    check = next((check for check in checks if check.accuracy is not None and check.evidence), None)
    if check is None:
        return None
    path = home / "monitoring" / str(check.evidence) / EVIDENCE
    try:
        performance = record.read_file(Performance, path)
    except FileNotFoundError:
        return None  # The evidence was deleted; the line of the check has the most important values
    except (OSError, ParseError) as error:
        log.warning("%s: cannot be read: %s", path, error)
        return None
    attributes, slices = map(_worst_first, (performance.per_attribute, performance.slices))
    if not attributes and not slices:
        return None
    return LateLabels(check.at, performance.images, attributes, slices)


def _worst_first(rows: Mapping[str, _Accuracy]) -> tuple[Row, ...]:
    with_intervals = (
        Row(
            name,
            Interval(row.accuracy, row.accuracy_low, row.accuracy_high),
            None if row.positives is None else max(row.positives, 1 - row.positives),
            row.count,
        )
        for name, row in rows.items()
        if row.accuracy is not None
    )
    return tuple(sorted(with_intervals, key=lambda row: row.accuracy.value))
