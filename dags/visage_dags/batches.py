"""The batches of images of an environment: where they arrive, where their scores go, where they end.

incoming/<batch>/            images to score; a batch is complete when its folder appears (rename it in)
scores/date=<day>/<batch>.parquet   its scores, by the day on which it was first scored
scores/date=<day>/<batch>.json      its figures: rows, quarantined, and for each attribute the mean score
scored/<batch>/              the images, after scoring
quarantine/<batch>/          the images that could not be read, with the reasons
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """How many images of a batch were scored, and how many could not be."""

    rows: int
    quarantined: int


def waiting(home: Path) -> list[str]:
    """The names of the batches that wait, oldest name first; a leading dot marks one that still arrives."""
    incoming = home / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    return sorted(entry.name for entry in incoming.iterdir() if entry.is_dir() and entry.name[0] != ".")


def is_waiting(home: Path, batch: str) -> bool:
    """Whether a batch is there to be scored."""
    return (home / "incoming" / batch).is_dir()


def is_empty(home: Path, batch: str) -> bool:
    """Whether a batch waits and has no image left: every one went to quarantine, or it came with none."""
    folder = home / "incoming" / batch
    return folder.is_dir() and not any(
        entry.is_file() and not any(part.startswith(".") for part in entry.relative_to(folder).parts)
        for entry in folder.rglob("*")
    )


def outcome(scores: Path) -> Outcome:
    """Read from a file of scores what became of its batch."""
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(scores)
    return Outcome(metadata.num_rows, len(json.loads(metadata.metadata[b"quarantined"])))


def scores_path(home: Path, batch: str) -> Path:
    """The one file of a batch's scores: where it already is, else under today (UTC)."""
    present = sorted((home / "scores").glob(f"date=*/{_literal(batch)}.parquet"))
    today = datetime.now(UTC).date().isoformat()
    return present[0] if present else home / "scores" / f"date={today}" / f"{batch}.parquet"


def summary_path(scores: Path) -> Path:
    """The file of a batch's figures, beside that of its scores; a batch may have a dot in its name."""
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
