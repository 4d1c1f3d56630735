"""Retention: the last run that removed data which is older than the settings of the environment allow."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitops.people import retention


@dataclass(frozen=True)
class Retention:
    """The last run.

    Attributes:
        at: Its time; None where there was none.
        removed: A phrase for each kind of things that it removed.
        kept: Entries that are old enough, and that somebody needs.
        reason: Why it kept everything; "" where it did not.

    """

    at: datetime | None = None
    removed: tuple[str, ...] = ()
    kept: int = 0
    reason: str = ""


def read(home: Path) -> Retention:
    """Return the last run, from the record that the DAG `retention` writes."""
    line = retention.last(home)
    if line is None:
        return Retention()
    shared = _phrases({"branches and tags": line.pruned.get("references", 0)})
    objects = _phrases({"objects of the DVC remote and caches": line.pruned.get("objects", 0)})
    folders = _phrases({f"entries of {folder}/": count for folder, count in line.removed.items()})
    return Retention(line.at, (*folders, *shared, *objects), sum(line.kept.values()), line.reason)


def _phrases(counts: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(f"{count:,} {name}" for name, count in counts.items() if count)
