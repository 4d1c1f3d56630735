"""What late labels say of each attribute and slice: what the latest check with enough of them found."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from dashboard.card import Row
from dashboard.checks import Check
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
    """Of an attribute: the share of images that have it."""
    count: Count | None = None
    """Of a slice: its images."""


class Performance(Record):
    """Contents of `performance.json`. Earlier releases wrote no slices."""

    format: Literal[1] = 1
    images: Count
    per_attribute: dict[str, _Accuracy]
    slices: dict[str, _Accuracy] = Field(default_factory=dict)


@dataclass(frozen=True)
class LateLabels:
    """The accuracy on `images` whose labels came late, worst first."""

    at: datetime
    images: int
    attributes: tuple[Row, ...]
    slices: tuple[Row, ...]


def read(home: Path, checks: Sequence[Check]) -> LateLabels | None:
    """Return what the first of `checks` with an accuracy found; None without one, or without its evidence."""
    check = next((check for check in checks if check.accuracy is not None and check.evidence), None)
    if check is None:
        return None
    path = home / "monitoring" / str(check.evidence) / EVIDENCE
    try:
        found = record.read(Performance, path.read_bytes())
    except FileNotFoundError:
        return None  # Somebody tidied up; the check's line has the most of it
    except (OSError, ParseError) as error:
        log.warning("%s: cannot be read: %s", path, error)
        return None
    attributes, slices = map(_worst_first, (found.per_attribute, found.slices))
    if not attributes and not slices:
        return None
    return LateLabels(check.at, found.images, attributes, slices)


def _worst_first(rows: Mapping[str, _Accuracy]) -> tuple[Row, ...]:
    found = (
        Row(
            name,
            Interval(row.accuracy, row.accuracy_low, row.accuracy_high),
            None if row.positives is None else max(row.positives, 1 - row.positives),
            row.count,
        )
        for name, row in rows.items()
        if row.accuracy is not None
    )
    return tuple(sorted(found, key=lambda row: row.accuracy.value))
