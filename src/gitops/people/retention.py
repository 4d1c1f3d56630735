"""Retention: how long an environment keeps photographs, scores, labels and reports.

A setting of 0 keeps a kind for ever. Nothing goes that somebody still needs: an environment with a hold or an
open alarm keeps everything, photographs stay until their late labels are gathered, and a labelled batch stays
until main has it.
"""

import csv
import errno
import json
import logging
import stat
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gitops import atomic
from gitops.errors import ParseError
from gitops.text import record
from gitops.text.record import Count, Moment, Record

log = logging.getLogger(__name__)

RECORD = "retention.jsonl"
_DECISIONS = "monitoring/decisions.jsonl"
_LONGEST_LABELS = 1 << 16
_KEPT_LINES = 4000


@dataclass(frozen=True)
class Kind:
    """A kind of data: the setting with its days, its folder, and the pattern of its entries."""

    setting: str
    folder: str
    pattern: str = "*"


_SCORES = Kind("RETENTION_DAYS_SCORES", "scores", "date=*")
KINDS = (
    Kind("RETENTION_DAYS_SCORED", "scored"),
    Kind("RETENTION_DAYS_QUARANTINE", "quarantine"),
    _SCORES,
    Kind("RETENTION_DAYS_SCORES", "shadows", "*/date=*"),
    Kind("RETENTION_DAYS_LABELS", "labels"),
    Kind("RETENTION_DAYS_LABELLED", "labelled"),
    Kind("RETENTION_DAYS_RUNS", "runs"),
    Kind("RETENTION_DAYS_REPORTS", "monitoring", "*/"),
    Kind("RETENTION_DAYS_REPORTS", "readings"),
)


COPIES = (("models", "*.onnx"), ("references", "*.parquet"), ("comparisons", "*.json"))
"""Folders of copies, which are fetched or made again when a task needs one."""
_KEPT_COPIES = 50


class Line(Record):
    """A run of retention: the entries that it removed and those that somebody needs, by folder."""

    format: Literal[1]
    at: Moment
    removed: dict[str, Count]
    kept: dict[str, Count]
    reason: str
    """Why everything was kept; "" where it was not."""
    pruned: dict[Literal["references", "objects"], Count] = Field(default_factory=dict)
    """The branches and tags, and the objects, that a prune removed; empty where there was none."""


@dataclass(frozen=True)
class Needed:
    """The reasons to keep data whatever its age.

    Attributes:
        reason: Why nothing goes at all; "" if something may.
        batches: Labelled batches that main has, which may go.

    """

    reason: str = ""
    batches: frozenset[str] = frozenset()


def sweep(home: Path, days: Mapping[str, int], needed: Needed, now: datetime) -> dict[str, Any]:
    """Remove data that is older than it may be, and add a line to the record.

    Args:
        home: The data folder of the environment.
        days: The days of each setting; 0 keeps.
        needed: The reasons to keep data.
        now: The present time.

    Returns:
        The line: the time, the number of entries that went of each kind, and the reason if all was kept.

    """
    reason = needed.reason or open_alarm(home)
    removed: dict[str, int] = {}
    kept: dict[str, int] = {}
    for folder, path, stays in due(home, days, needed, now):
        if stays:
            kept[folder] = kept.get(folder, 0) + 1
            continue
        log.info("Removing %s: older than the settings allow.", path)
        if path.is_dir() and not path.is_symlink():
            # Somebody may have sent folders within folders, deeper than Python follows.
            done = subprocess.run(["rm", "-rf", "--", str(path)], check=False, capture_output=True, text=True)
            if done.returncode:
                raise OSError(errno.EIO, (done.stderr.splitlines() or ["rm failed"])[0], str(path))
        else:
            path.unlink()
        removed[folder] = removed.get(folder, 0) + 1
    line: dict[str, Any] = {
        "format": 1,
        "at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "removed": removed,
        "kept": kept,
        "reason": reason,
    }
    _record(home / RECORD, line)
    return line


def due(
    home: Path, days: Mapping[str, int], needed: Needed, now: datetime
) -> Iterator[tuple[str, Path, bool]]:
    """Yield the data that is older than it may be: its folder, its path, and whether somebody needs it.

    The arguments are those of `sweep`. Of copies, the newest stay. If everything is needed, there is none.
    """
    if needed.reason or open_alarm(home):
        return
    waiting = _waiting(home)
    for kind in KINDS:
        if limit := days.get(kind.setting, 0):
            for path in _expired(home, kind, limit, now):
                yield kind.folder, path, _is_needed(path, kind.folder, waiting, needed.batches)
    yesterday = (now - timedelta(days=1)).timestamp()
    for folder, pattern in COPIES:
        times = {path: path.stat().st_mtime for path in (home / folder).glob(pattern)}
        for path in sorted(times, key=times.__getitem__, reverse=True)[_KEPT_COPIES:]:
            if times[path] < yesterday:
                yield folder, path, False


def open_alarm(home: Path) -> str:
    """Return the alarms that the last check of monitoring left open, as a reason; "" without one."""
    path = home / _DECISIONS
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in reversed(lines):
        try:
            alarms = json.loads(line).get("alarm", [])
        except (ValueError, AttributeError):
            continue  # the check names a damaged line
        return f"open alarm: {', '.join(map(str, alarms))}" if alarms else ""
    return ""


def _expired(home: Path, kind: Kind, limit: int, now: datetime) -> Iterator[Path]:
    before = (now - timedelta(days=limit)).astimezone(UTC)
    for path in sorted((home / kind.folder).glob(kind.pattern)):
        # A leading dot marks a batch or a file that still arrives
        if path.name[0] == ".":
            continue
        moment = _day(path) if kind is _SCORES else None
        if moment < before if moment else not _changed_since(path, before):
            yield path


def _day(path: Path) -> datetime | None:
    """Return the end of the day in the name of a folder of scores; None where it names no day."""
    try:
        return datetime.combine(date.fromisoformat(path.name.removeprefix("date=")), time.max, UTC)
    except ValueError:
        return None


def _changed_since(path: Path, moment: datetime) -> bool:
    """Whether an entry, or anything in it, changed since a moment; a folder has no time of inner folders."""
    entries = [path]
    while entries:
        entry = entries.pop()
        try:
            about = entry.lstat()
            if about.st_mtime >= moment.timestamp():
                return True
            if stat.S_ISDIR(about.st_mode):
                entries += entry.iterdir()
        except OSError as error:
            # A task removed it meanwhile, or no path leads there.
            if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                raise
    return False


def _is_needed(path: Path, folder: str, waiting: Collection[str], merged: Collection[str]) -> bool:
    if folder == "scored":
        return path.name in waiting
    if folder == "labels":
        return path.stem in waiting
    return folder == "labelled" and path.name not in merged


def _waiting(home: Path) -> set[str]:
    """Return the batches with late labels of photographs that are in no labelled batch yet."""
    gathered = {source for file in (home / "labelled").glob("*/gathered.csv") for source in _column(file, 1)}
    waiting: set[str] = set()
    for file in (home / "labels").glob("*"):
        if file.suffix.lower() not in (".csv", ".txt") or not file.is_file():
            continue
        for name in _column(file, 0):
            batch, _, inner = name.partition("/") if "/" in name else (file.stem, "", name)
            if f"{batch}/{inner}" not in gathered and _is_file(home / "scored" / batch / inner):
                waiting |= {batch, file.stem}
    return waiting


def _is_file(path: Path) -> bool:
    """Whether a file is there. People write these names: one may be longer than a file's can be."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def _column(path: Path, index: int) -> Iterator[str]:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    separated = "," in text.partition("\n")[0]
    # A longer line names no file, and the csv module would refuse its fields
    lines = [line for line in text.splitlines() if len(line) <= _LONGEST_LABELS]
    rows = csv.reader(lines) if separated else (line.split() for line in lines)
    yield from (",".join(row[1:]) if index else row[0] for row in rows if len(row) > index)


def amend(home: Path, line: Mapping[str, Any]) -> None:
    """Replace the last line of the record, which this run wrote, by one that has more."""
    before = (home / RECORD).read_bytes().splitlines()[:-1]
    _write(home / RECORD, before, line)


def _record(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to the record, of which the newest lines stay."""
    _write(path, path.read_bytes().splitlines()[-_KEPT_LINES + 1 :] if path.is_file() else [], line)


def _write(path: Path, before: list[bytes], line: Mapping[str, Any]) -> None:
    text = json.dumps(line, ensure_ascii=False).encode()
    atomic.write(path, b"\n".join([*before, text]) + b"\n")


def last(home: Path) -> Line | None:
    """Return the last line of the record of an environment that can be read; None without one."""
    path = home / RECORD
    for line in reversed(path.read_bytes().splitlines() if path.is_file() else []):
        try:
            return record.read(Line, line)
        except ParseError:
            continue
    return None
