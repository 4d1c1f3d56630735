"""The batches of images of an environment, and their folders.

incoming/<batch>/            images to score; a batch is complete when its folder appears (rename it in)
scores/date=<day>/<batch>.parquet   its scores, by the day on which it was first scored
scores/date=<day>/<batch>.json      its summary: rows, quarantined, and the mean score of each attribute
scored/<batch>/              the images, after scoring
quarantine/<batch>/          the images that could not be read, with the reasons
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """The number of scored images and of unusable images of a batch."""

    rows: int
    quarantined: int


def waiting(home: Path) -> list[str]:
    """Return the names of the waiting batches, sorted. A leading dot marks a batch that is still arriving."""
    incoming = home / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    return sorted(entry.name for entry in incoming.iterdir() if entry.is_dir() and entry.name[0] != ".")


def is_waiting(home: Path, batch: str) -> bool:
    """Return whether a batch waits to be scored."""
    return (home / "incoming" / batch).is_dir()


def is_empty(home: Path, batch: str) -> bool:
    """Return whether a waiting batch has no images, because all are in quarantine or it came empty."""
    folder = home / "incoming" / batch
    return folder.is_dir() and not any(
        entry.is_file() and not any(part.startswith(".") for part in entry.relative_to(folder).parts)
        for entry in folder.rglob("*")
    )


def outcome(scores: Path) -> Outcome:
    """Read the outcome of a batch from its file of scores."""
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(scores)
    return Outcome(metadata.num_rows, len(json.loads(metadata.metadata[b"quarantined"])))


def scores_path(home: Path, batch: str) -> Path:
    """Return the path of a batch's scores: the existing file, else a file under today (UTC)."""
    present = sorted((home / "scores").glob(f"date=*/{_literal(batch)}.parquet"))
    today = datetime.now(UTC).date().isoformat()
    return present[0] if present else home / "scores" / f"date={today}" / f"{batch}.parquet"


def summary_path(scores: Path) -> Path:
    """Return the path of a batch's summary, beside its scores. The name of a batch may contain dots."""
    return scores.with_name(f"{scores.name.removesuffix('.parquet')}.json")


def retire(home: Path, batch: str) -> Path:
    """Move a scored batch out of `incoming`, beside an earlier one of the same name if there is one."""
    scored = home / "scored"
    scored.mkdir(parents=True, exist_ok=True)
    target, number = scored / batch, 2
    while target.exists():
        target, number = scored / f"{batch}~{number}", number + 1
    return (home / "incoming" / batch).rename(target)


def _literal(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
