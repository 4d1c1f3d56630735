"""Values out of JSON that other programs wrote: a value of another type becomes None, or empty."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from gitops.text import parse

_LARGEST = 10**15
_YEARS = range(1970, 2101)


def number(value: object) -> float | None:
    """Return the value as a float, or None if it is not finite or beyond 10^15. Booleans are rejected."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_LARGEST <= value <= _LARGEST else None


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def day(value: object) -> date | None:
    try:
        parsed = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return parsed if parsed and parsed.year in _YEARS else None


def at(value: object, keys: Sequence[str]) -> Any:
    """Return the value at the end of a path of keys, or None."""
    for key in keys:
        value = parse.mapping(value).get(key)
    return value
