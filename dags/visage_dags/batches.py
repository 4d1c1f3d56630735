"""The batches of images of an environment, and their folders.

A folder name may come again: a camera may call each day's folder `upload`. So each arrival has a name of its
own, `upload`, `upload~2` and so on, under which its scores, images and quarantine are kept. A hidden file in
the folder records that name, so that a batch whose scoring was interrupted keeps it.

incoming/<batch>/            images to score; a batch is complete when its folder appears (rename it in)
scores/date=<day>/<batch>.parquet   its scores, by the day on which it was first scored
scores/date=<day>/<batch>.json      its summary: rows, quarantined, and the mean score of each attribute
scored/<batch>/              the images, after scoring
parts/<batch>/               scored parts of a large batch, until they are joined
quarantine/<batch>/          the images that could not be read, with the reasons
"""

import csv
import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

log = logging.getLogger(__name__)

_ARRIVAL = ".visage-arrival"
_JOINING = ".joining-"
MOST_PARTS = 1000
"""Airflow makes at most 1,024 tasks of one list."""
_MOST_LEVELS = 30
_MOST_NAMED = 20
_LONGEST_NAME = 180
"""Bytes of a folder name: the names of files that are made from it are longer."""


@dataclass(frozen=True)
class Outcome:
    """The number of scored images and of unusable images of a batch."""

    rows: int
    quarantined: int


def waiting(home: Path) -> list[str]:
    """Return the names of the waiting batches, sorted. A leading dot marks a batch that is still arriving.

    Each one gets the name of its arrival. A folder whose name is not UTF-8, or cannot be printed, is renamed.
    A batch that cannot be prepared like this is left out with its reason, and the others are returned. There
    are no more than Airflow takes: the next run returns the rest.
    """
    incoming = home / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    entries = sorted(entry for entry in incoming.iterdir() if entry.name[0] != ".")
    others = _claims(home, incoming)
    names: list[str] = []
    left: dict[Path, str] = {}
    for number, entry in enumerate(entries):
        if len(names) == MOST_PARTS:
            log.warning(
                "%d batches are enough for a run; the next one reads the other %d entries of %s",
                number,
                len(entries) - number,
                incoming,
            )
            break
        if entry.is_symlink():
            # Unusable files are moved to the quarantine, and here they are somebody else's.
            left[entry] = "left alone: a link; move or copy the folder itself here"
            continue
        if not entry.is_dir():
            left[entry] = "left alone: not a folder; put images into a folder of their own"
            continue
        try:
            folder = _named_as_text(entry)
            others[folder] = _claim(home, folder, others)
            names.append(folder.name)
        except OSError as error:
            left[entry] = f"cannot be scored: {error.strerror}; make it writable"
    for entry, reason in list(left.items())[:_MOST_NAMED]:
        log.warning("%s: %s", shown(entry), reason)
    if len(left) > _MOST_NAMED:
        log.warning("%s: %d more entries are left alone", incoming, len(left) - _MOST_NAMED)
    return sorted(names)


def shown(path: Path) -> str:
    """Return a path as one line of text that can be printed."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def _named_as_text(folder: Path) -> Path:
    """Rename a folder whose name cannot be stored or printed; return its path."""
    name = re.sub(r"[^\w.,+@=~() -]", "_", shown(Path(folder.name))) if _is_odd(folder.name) else folder.name
    while len(name.encode()) > _LONGEST_NAME:
        name = name[:-1]
    if name == folder.name:
        return folder
    target = next(path for path in map(folder.with_name, _numbered(name)) if not os.path.lexists(path))
    log.warning("%s: renamed to %s: its name is too long or not printable", shown(folder), target.name)
    return folder.rename(target)


def _is_odd(name: str) -> bool:
    return shown(Path(name)) != name


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}~{number}" for number in count(2))


def arrival(home: Path, batch: str) -> str:
    """Return the name of the arrival of a batch: of the waiting one, else of the first one of that name."""
    folder = home / "incoming" / batch
    if not folder.is_dir():
        return batch
    return _claimed(home, folder / _ARRIVAL) or _claim(home, folder, _claims(home, folder.parent))


def _claims(home: Path, incoming: Path) -> dict[Path, str]:
    """Return the names of the arrivals of waiting folders that have one."""
    notes = incoming.glob(f"*/{_ARRIVAL}")
    return {note.parent: name for note in notes if (name := _claimed(home, note))}


def _claim(home: Path, folder: Path, claims: Mapping[Path, str]) -> str:
    """Return the name of the arrival of a waiting folder; give it one where it has none."""
    if folder in claims:
        return claims[folder]
    name = next(name for name in _numbered(folder.name) if not _is_used(home, name, claims.values()))
    (folder / _ARRIVAL).write_text(f"{name}\n", "utf-8")
    return name


def claim_again(scored: Path) -> None:
    """Let a scored batch keep its name when its folder is moved back to `incoming`."""
    (scored / _ARRIVAL).write_text(f"{scored.name}\n", "utf-8")


def _claimed(home: Path, note: Path) -> str | None:
    """Return the name that a folder got, or None if it has none or its images are kept under that name."""
    if note.is_symlink() or not note.is_file():
        return None
    name = note.read_bytes()[:1000].decode("utf-8", "replace").removesuffix("\n")
    mine = re.fullmatch(rf"{re.escape(note.parent.name)}(~\d+)?", name)
    return name if mine and not (home / "scored" / name).exists() else None


def _is_used(home: Path, name: str, others: Collection[str]) -> bool:
    places = (home / "scored" / name, home / "quarantine" / name)
    return name in others or any(map(os.path.lexists, places)) or bool(_files_of(home, name))


def _files_of(home: Path, name: str) -> list[Path]:
    """Return the scores of an arrival; of one without a usable image, the summary."""
    folders = (home / "scores").glob("date=*")
    files = (folder / f"{name}{suffix}" for folder in folders for suffix in (".parquet", ".json"))
    return sorted((file for file in files if file.exists()), key=lambda file: file.suffix, reverse=True)


def photographs(home: Path, batch: str) -> int:
    """Return the number of files of a waiting batch that are not hidden."""
    return sum(1 for _ in _files(home / "incoming" / batch))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a batch that are not hidden. Scoring reads no folder that lies deeper."""
    for place, folders, files in os.walk(folder):
        deep = place.removeprefix(str(folder)).count(os.sep) >= _MOST_LEVELS
        folders[:] = [name for name in folders if not (deep or name.startswith("."))]
        yield from (Path(place, name) for name in files if not name.startswith("."))


def parts(home: Path, names: Collection[str], images: int) -> list[dict[str, str]]:
    """Return the parts of waiting batches, each the work of one task: its batch, and `3/50` or the like.

    Args:
        home: The data folder.
        names: The names of the batches.
        images: The number of images of a part. There are more in each if there would be too many parts.

    """
    counts = {batch: photographs(home, batch) for batch in names}
    most = max(MOST_PARTS - len(counts), 1)
    images = max(images, -(-sum(counts.values()) // most))
    found: list[dict[str, str]] = []
    _tidy_parts(home, {arrival(home, batch) for batch in names})
    for batch, size in counts.items():
        number = max(1, -(-size // images))
        found += [{"batch": batch, "part": f"{part}/{number}"} for part in range(1, number + 1)]
    return found


def part_path(home: Path, batch: str, release: str, part: str) -> Path:
    """Return the path of the scores of a part of a batch, by a release."""
    return home / "parts" / arrival(home, batch) / f"{release[:12]}-{part.replace('/', '-of-')}.parquet"


def claim_parts(home: Path, batch: str, release: str, part: str) -> list[Path]:
    """Return the scores of all parts of a batch for the task that is to join them, else an empty list.

    Renaming their folder decides which task that is: only one of two tasks that end at the same moment can.
    """
    folder = part_path(home, batch, release, part).parent
    mine = folder.with_name(f"{folder.name}{_JOINING}{part.replace('/', '-of-')}")
    last = int(part.partition("/")[2])
    names = [part_path(home, batch, release, f"{number}/{last}").name for number in range(1, last + 1)]
    if not mine.is_dir():  # The attempt before this one may have claimed it.
        if not all((folder / name).is_file() for name in names):
            return []
        try:
            folder.rename(mine)
        except FileNotFoundError:
            return []
    return [mine / name for name in names]


def _tidy_parts(home: Path, waiting: Collection[str]) -> None:
    """Remove the parts of batches that do not wait, and undo claims of tasks that failed.

    No other run is active.
    """
    folder = home / "parts"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name, claim, _ = path.name.rpartition(_JOINING)
        if (name or path.name) not in waiting:
            shutil.rmtree(path)
        elif claim:
            # A task that was tried again may have begun another folder. The claimed one is complete.
            shutil.rmtree(path.with_name(name), ignore_errors=True)
            path.rename(path.with_name(name))


def is_waiting(home: Path, batch: str) -> bool:
    """Return whether a batch waits to be scored."""
    return (home / "incoming" / batch).is_dir()


def is_empty(home: Path, batch: str) -> bool:
    """Return whether a waiting batch has no images, because all are in quarantine or it came empty."""
    folder = home / "incoming" / batch
    return folder.is_dir() and not any(path.is_file() for path in _files(folder))


def outcome(scores: Path, quarantine: Path) -> Outcome:
    """Read the outcome of a batch from its file of scores and the list in its quarantine.

    A batch that is scored again has no unusable images, because they are in the quarantine since.
    """
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(scores)
    unusable = len(json.loads(metadata.metadata[b"quarantined"]))
    table = quarantine / "quarantine.csv"
    if table.is_file() and not table.is_symlink():
        with table.open(newline="", encoding="utf-8") as file:
            unusable = max(unusable, sum(1 for _ in csv.reader(file)) - 1)
    return Outcome(metadata.num_rows, unusable)


def scores_path(home: Path, batch: str) -> Path:
    """Return the path of a batch's scores: the file of this arrival, else a file under today (UTC)."""
    name = arrival(home, batch)
    present = _files_of(home, name)
    today = datetime.now(UTC).date().isoformat()
    folder = present[0].parent if present else home / "scores" / f"date={today}"
    return folder / f"{name}.parquet"


def quarantine_path(home: Path, batch: str) -> Path:
    """Return the folder for the unusable files of a batch."""
    return home / "quarantine" / arrival(home, batch)


def summary_path(scores: Path) -> Path:
    """Return the path of a batch's summary, beside its scores. The name of a batch may contain dots."""
    return scores.with_name(f"{scores.name.removesuffix('.parquet')}.json")


def retire(home: Path, batch: str) -> Path:
    """Move a scored batch out of `incoming`, to the name of its arrival."""
    scored = home / "scored"
    scored.mkdir(parents=True, exist_ok=True)
    return (home / "incoming" / batch).rename(scored / arrival(home, batch))
