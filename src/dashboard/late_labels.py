"""What late labels say of each attribute and slice: what the latest check with enough of them found."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dashboard.card import Row
from dashboard.checks import Check
from gitops.model.metrics import Interval
from gitops.text import json_values

log = logging.getLogger(__name__)

EVIDENCE = "performance.json"


@dataclass(frozen=True)
class LateLabels:
    """The accuracy on `images` whose labels came late, worst first."""

    at: datetime
    images: int | None
    attributes: tuple[Row, ...]
    slices: tuple[Row, ...]


def read(home: Path, checks: Sequence[Check]) -> LateLabels | None:
    """Return what the first of `checks` with an accuracy found; None without one, or without its evidence."""
    check = next((check for check in checks if check.accuracy is not None and check.evidence), None)
    if check is None:
        return None
    path = home / "monitoring" / str(check.evidence) / EVIDENCE
    try:
        found = json_values.mapping(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None  # somebody tidied up; the check's line says the most of it
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s: cannot be read: %s", path, error)
        return None
    attributes, slices = (_worst_first(found.get(key)) for key in ("per_attribute", "slices"))
    if not attributes and not slices:
        return None
    return LateLabels(check.at, json_values.whole(found.get("images")), attributes, slices)


def _worst_first(rows: object) -> tuple[Row, ...]:
    return tuple(sorted(_rows(json_values.mapping(rows)), key=lambda row: row.accuracy.value))


def _rows(rows: dict[str, Any]) -> Iterator[Row]:
    for name, value in rows.items():
        row = json_values.mapping(value)
        accuracy, low, high, positives = (
            json_values.number(row.get(key))
            for key in ("accuracy", "accuracy_low", "accuracy_high", "positives")
        )
        if accuracy is not None:
            majority = None if positives is None else max(positives, 1 - positives)
            yield Row(name, Interval(accuracy, low, high), majority, json_values.whole(row.get("count")))
