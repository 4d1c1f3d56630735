"""Values out of JSON that somebody else wrote: what is not of the kind asked for is None, or empty."""

from collections.abc import Sequence
from datetime import date
from typing import Any

_LARGEST = 10**15
_YEARS = range(1970, 2101)


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """Return a number that can be counted with: finite, and at most 10^15 away from 0; a boolean is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_LARGEST <= value <= _LARGEST else None


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def day(value: object) -> date | None:
    try:
        found = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found and found.year in _YEARS else None


def at(value: object, keys: Sequence[str]) -> Any:
    """Return what is at the end of a path of keys, or None."""
    for key in keys:
        value = mapping(value).get(key)
    return value
