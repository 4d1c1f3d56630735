"""The audit: all events as a chain, in which the hash of a line covers every line before it.

A line's hash is the SHA-256 of the hash before and the event as canonical JSON (sorted keys, no spaces,
UTF-8). An export that somebody keeps elsewhere, or its last hash alone, shows any later change of the past.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gitops.errors import AuditError, ParseError
from gitops.history.events import Event
from gitops.text import parse

LARGEST = 512 * 1024 * 1024
"""The largest export that is read."""
_LINE = parse.Limits(size=65_536, depth=2, values=60)
_FIELDS = tuple(field.name for field in fields(Event))
_COLUMNS = ("number", *_FIELDS, "previous", "hash")
_HASH = re.compile(r"[0-9a-f]{64}|")
# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = re.compile(r"['=+\-@\t\r]")


@dataclass(frozen=True)
class Entry:
    """One line of the chain: an event, its number, and the hashes before and after it."""

    number: int
    event: Event
    previous: str
    hash: str

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {"number": self.number, **self.event.plain(), "previous": self.previous, "hash": self.hash}


@dataclass(frozen=True)
class Comparison:
    """An earlier export compared with git now.

    Attributes:
        lines: The number of its events.
        parted: The first line of the file that git does not bear out, and why; None where git has them all.
        late: Tags of git that the export does not have, though they are dated before its end.
        newer: The number of events of git that came after it.

    """

    lines: int
    parted: tuple[int, str] | None = None
    late: tuple[Event, ...] = ()
    newer: int = 0


def chain(events: Iterable[Event]) -> list[Entry]:
    """Return the events as a chain, from the first one on."""
    entries: list[Entry] = []
    previous = ""
    for number, event in enumerate(events, 1):
        entries.append(Entry(number, event, previous, _hash(previous, event)))
        previous = entries[-1].hash
    return entries


def to_json(entries: Sequence[Entry]) -> str:
    """Return a list of objects, one on each line."""
    rows = ",\n".join(json.dumps(entry.plain(), ensure_ascii=False) for entry in entries)
    return f"[\n{rows}\n]\n" if rows else "[]\n"


def to_csv(entries: Sequence[Entry]) -> str:
    """Return a table with a line for each event.

    A cell that a spreadsheet would calculate gets an apostrophe before it.
    """
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in entries:
        row = entry.plain()
        writer.writerow([_cell(str(row[name])) for name in _COLUMNS])
    return output.getvalue()


def read(content: bytes) -> list[tuple[int, Entry]]:
    """Read an export in either form: each entry with its line in the file.

    Raises:
        AuditError: for a line that is not one of an export.

    """
    try:
        text = parse.text(content, LARGEST)
    except ParseError as error:
        raise AuditError(str(error)) from error
    rows = _json_rows(text) if text.startswith("[") else _csv_rows(text)
    return [(line, _entry(line, row)) for line, row in rows]


def compare(export: Sequence[tuple[int, Entry]], now: Sequence[Entry]) -> Comparison:
    """Compare an earlier export with git now.

    The events of main must follow each other as they did. A tag that somebody pushed later with an earlier
    date parts nothing, since an environment may push a verdict late; it is named.
    """
    on_main = [entry.event for entry in now if entry.event.on_main]
    present = {entry.event for entry in now}
    # An export that begins later has the end of the chain.
    place = None if export and export[0][1].number > 1 else 0
    previous = export[0][1].previous if export and place is None else ""
    for line, entry in export:
        event = entry.event
        if entry.previous != previous or entry.hash != _hash(previous, event):
            why = "its hash is not that of its content and the lines before: somebody changed the file"
            return Comparison(len(export), (line, why))
        previous = entry.hash
        if event not in present:
            why = f"git does not have this event any more: {describe(event)}"
            return Comparison(len(export), (line, why))
        if event.on_main:
            place = on_main.index(event) if place is None else place
            if on_main[place : place + 1] != [event]:
                other = f": {describe(on_main[place])}" if place < len(on_main) else ""
                return Comparison(len(export), (line, f"git has another event in its place{other}"))
            place += 1
    exported = {entry.event for _, entry in export}
    last = max((number for number, entry in enumerate(now) if entry.event in exported), default=-1)
    first = min((number for number, entry in enumerate(now) if entry.event in exported), default=0)
    late = [entry.event for entry in now[first:last] if entry.event not in exported]
    return Comparison(len(export), None, tuple(late), len(now) - last - 1)


def describe(event: Event) -> str:
    """Return an event as one line for people."""
    who = f"{event.by} (proposed by {event.proposed_by})" if event.proposed_by else event.by
    change = " -> ".join(filter(None, [_short(event.before), _short(event.after)]))
    thing = change or _short(event.release)
    if event.kind in ("change", "ignored"):
        thing = event.name
    parts = (event.environment, event.kind, thing, event.detail if event.kind not in ("change",) else "")
    return f"{event.at[:16].replace('T', ' ')} {' '.join(filter(None, parts))} by {who or 'nobody named'}"


def _short(text: str) -> str:
    return text[:12] if re.fullmatch(r"[0-9a-f]{40}", text) else text


def _hash(previous: str, event: Event) -> str:
    canonical = json.dumps(event.plain(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous}{canonical}".encode()).hexdigest()


def _cell(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    lines = ["[", "]", ""] if text == "[]\n" else text.split("\n")
    if lines[0] != "[" or lines[-2:] != ["]", ""]:
        raise AuditError("it has no beginning or no end")
    for number, line in enumerate(lines[1:-2], 2):
        try:
            yield number, parse.mapping(parse.json_value(line.removesuffix(",").encode(), _LINE))
        except ParseError as error:
            raise AuditError(f"line {number}: {error}") from error


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        if tuple(next(rows, ())) != _COLUMNS:
            raise AuditError(f"line 1: its columns are not {', '.join(_COLUMNS)}")
        for number, row in enumerate(rows, 2):
            if len(row) != len(_COLUMNS):
                raise AuditError(f"line {number}: not an event of an export")
            cells = [cell.removeprefix("'") for cell in row]
            yield number, dict(zip(_COLUMNS, [int(cells[0]), *cells[1:]], strict=True))
    except (ValueError, csv.Error) as error:
        raise AuditError(f"not a table of an export: {error}") from error


def _entry(line: int, row: Mapping[str, object]) -> Entry:
    number, texts = row.get("number"), {name: row.get(name) for name in _COLUMNS[1:]}
    values = {name: text for name, text in texts.items() if isinstance(text, str)}
    if not isinstance(number, int) or set(row) != set(_COLUMNS) or len(values) != len(texts):
        raise AuditError(f"line {line}: not an event of an export")
    previous, made = values.pop("previous"), values.pop("hash")
    if not (_HASH.fullmatch(previous) and _HASH.fullmatch(made)):
        raise AuditError(f"line {line}: its hashes are not SHA-256")
    return Entry(number, Event(**values), previous, made)
