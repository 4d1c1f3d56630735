"""Bounded parsers for text that somebody else wrote: YAML and JSON out of commits, tags, settings and files.

Anybody who may push a branch or a tag chooses that text. So each parser has a limit of size, depth and number
of values, makes nothing but plain values, and fails with one error, `ParseError`, whatever the text is.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeGuard, cast

import yaml

from gitops.errors import ParseError

Value = str | None | list["Value"] | dict[str, "Value"]
"""A value of YAML: text as it is written, None for a plain `null`, `~` or nothing, lists and mappings."""


@dataclass(frozen=True)
class Limits:
    """The most that a text may hold.

    Attributes:
        size: Bytes.
        depth: Lists and mappings inside one another.
        values: Values and keys in all; one that an alias repeats counts each time.
        aliases: Whether anchors, aliases and merge keys may be used.

    """

    size: int
    depth: int = 32
    values: int = 20_000
    aliases: bool = False


RELEASE = Limits(size=4096, depth=4, values=50)
LOCK = Limits(size=1_000_000, values=50_000, aliases=True)
PARAMS = Limits(size=100_000, values=5_000, aliases=True)
SCHEMA = Limits(size=200_000, depth=20, values=10_000)
POINTER = Limits(size=16_384, depth=8, values=500)
CALENDAR = Limits(size=32_768, depth=6, values=2_000)
SETTING = Limits(size=16_384, depth=8, values=500)
MANIFEST = Limits(size=100_000, depth=20, values=5_000, aliases=True)
RESULT = Limits(size=65_536, depth=8, values=5_000)
RESULTS = Limits(size=10_000_000, depth=9, values=500_000)
VERDICT = Limits(size=16_384, depth=6, values=500)

_NULL = ("", "~", "null", "Null", "NULL")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UNPAIRED = frozenset(map(chr, range(0xD800, 0xE000)))
_DIGITS = 300
"""The longest number of JSON."""


def file(path: Path, largest: int) -> bytes:
    """Return the content of a file that another program wrote.

    Raises:
        ParseError: where it is a link, a pipe or a device, or larger than `largest` bytes.
        OSError: where it cannot be opened or read.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise ParseError("not a regular file") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ParseError("not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            content = opened.read(largest + 1)
    finally:
        os.close(descriptor)
    if len(content) > largest:
        raise ParseError(f"larger than {largest:,} bytes")
    return content


def text(content: bytes, largest: int) -> str:
    """Decode text.

    Raises:
        ParseError: where it is larger than `largest` bytes, not UTF-8, or holds a control character.

    """
    if len(content) > largest:
        raise ParseError(f"larger than {largest:,} bytes")
    try:
        decoded = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError("not UTF-8 text") from error
    if character := _CONTROL.search(decoded):
        raise ParseError("a control character", line=decoded.count("\n", 0, character.start()) + 1)
    return decoded


def yaml_value(content: bytes, limits: Limits) -> Value:
    """Read one YAML document. No value is interpreted: numbers, dates and booleans stay text.

    Raises:
        ParseError: where it is not YAML, exceeds a limit, has tags, directives, a second document, the same
            key twice or a key that is not text, or anchors where `limits` allows none.

    """
    decoded = text(content, limits.size).removeprefix("\ufeff")
    builder = _Builder(limits)
    try:
        events = cast(Iterator[yaml.Event], yaml.parse(decoded, Loader=yaml.CBaseLoader))  # pyright: ignore[reportUnknownMemberType] its stub has no type for the stream
        for event in events:
            builder.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or "not YAML")
        raise ParseError(problem, line=mark.line + 1 if mark else None) from error
    except (ValueError, OverflowError, RecursionError, LookupError) as error:
        raise ParseError("not YAML") from error
    return builder.result


def json_value(content: bytes, limits: Limits) -> Any:
    """Read JSON.

    Raises:
        ParseError: where it is not JSON, exceeds a limit, has the same key twice, NaN, an infinite number or
            one of more than 300 digits.

    """
    decoded = text(content, limits.size)
    try:
        document = json.loads(
            decoded,
            object_pairs_hook=_mapping,
            parse_constant=_no_number,
            parse_int=_whole,
            parse_float=_number,
        )
    except json.JSONDecodeError as error:
        raise ParseError(f"not JSON: {error.msg}", line=error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise ParseError("not JSON: nested too deeply") from error
    waiting: list[tuple[object, int]] = [(document, 1)]
    for count, (value, depth) in enumerate(_each(waiting), start=1):
        if depth > limits.depth:
            raise ParseError(f"more than {limits.depth} levels deep")
        if count > limits.values:
            raise ParseError(f"more than {limits.values:,} values")
        if isinstance(value, str) and not _UNPAIRED.isdisjoint(value):
            raise ParseError("half of a surrogate pair")
        inner = [*value, *value.values()] if is_mapping(value) else sequence(value)
        waiting += [(item, depth + 1) for item in inner]
    return document


def mapping(value: object) -> dict[str, Any]:
    """Return a mapping as it is, and an empty one for any other value."""
    return value if is_mapping(value) else {}


def sequence(value: object) -> list[Any]:
    """Return a list as it is, and an empty one for any other value."""
    return value if is_sequence(value) else []


def is_mapping(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a value of JSON or YAML is a mapping; its keys are text then."""
    return isinstance(value, dict)


def is_sequence(value: object) -> TypeGuard[list[Any]]:
    """Return whether a value of JSON or YAML is a list."""
    return isinstance(value, list)


def _each(waiting: list[tuple[object, int]]) -> Iterator[tuple[object, int]]:
    while waiting:
        yield waiting.pop()


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ParseError("a key is there twice")
    return members


def _no_number(name: str) -> NoReturn:
    raise ParseError(f"{name} is not a number of JSON")


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ParseError(f"a number of more than {_DIGITS} digits")
    return int(digits)


def _number(digits: str) -> float:
    if len(digits) > _DIGITS:
        raise ParseError(f"a number of more than {_DIGITS} digits")
    parsed = float(digits)
    if parsed in (float("inf"), float("-inf")):
        raise ParseError("a number that is too large")
    return parsed


@dataclass
class _Open:
    """A list or mapping whose end has not been read."""

    value: list[Value] | dict[str, Value]
    anchor: str | None
    before: int
    """How many values there were before it."""
    key: str | None = None
    merges: list[Value] = field(default_factory=list)
    merge_next: bool = False


class _Builder:
    """Makes values of the events of a YAML parser, without recursion."""

    def __init__(self, limits: Limits) -> None:
        self.result: Value = None
        self._limits = limits
        self._open: list[_Open] = []
        self._known: dict[str, tuple[Value, int]] = {}
        self._count = 0
        self._documents = 0
        self._line: int | None = None

    def take(self, event: yaml.Event) -> None:
        self._line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse("a second document")
            if event.version or event.tags:
                self._refuse("a directive (%)")
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor)
        elif isinstance(event, yaml.ScalarEvent):
            self._start(event)
            plain = event.style in (None, "")
            value = None if plain and event.value in _NULL else event.value
            self._anchor(event.anchor, value, 1)
            self._add(value, event.value, merges=plain and event.value == "<<")
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start(event)
            if len(self._open) >= self._limits.depth:
                self._refuse(f"more than {self._limits.depth} levels deep")
            inner: list[Value] | dict[str, Value] = {} if isinstance(event, yaml.MappingStartEvent) else []
            if self._open and isinstance(self._open[-1].value, dict) and not self._expects_value():
                self._refuse("a key that is not text")
            self._open.append(_Open(inner, event.anchor, self._count - 1))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            closed = self._open.pop()
            self._merge(closed)
            self._anchor(closed.anchor, closed.value, self._count - closed.before)
            self._add(closed.value, None)

    def _start(self, event: yaml.NodeEvent) -> None:
        if getattr(event, "tag", None) is not None:
            self._refuse("a tag (!)")
        if event.anchor is not None and not self._limits.aliases:
            self._refuse("an anchor (&)")
        self._more(1)

    def _alias(self, anchor: str) -> None:
        if not self._limits.aliases:
            self._refuse("an alias (*)")
        if anchor not in self._known:
            self._refuse(f"the alias *{anchor[:40]} of nothing before it")
        value, count = self._known[anchor]
        self._more(count)
        self._add(value, value if isinstance(value, str) else None)

    def _more(self, count: int) -> None:
        self._count += count
        if self._count > self._limits.values:
            self._refuse(f"more than {self._limits.values:,} values")

    def _anchor(self, anchor: str | None, value: Value, count: int) -> None:
        if anchor is not None:
            self._known[anchor] = (value, count)

    def _expects_value(self) -> bool:
        return self._open[-1].key is not None or self._open[-1].merge_next

    def _add(self, value: Value, key: str | None, *, merges: bool = False) -> None:
        if not self._open:
            self.result = value
            return
        holder = self._open[-1]
        if isinstance(holder.value, list):
            holder.value.append(value)
        elif holder.merge_next:
            holder.merges.append(value)
            holder.merge_next = False
        elif holder.key is not None:
            holder.value[holder.key] = value
            holder.key = None
        elif merges and self._limits.aliases:
            holder.merge_next = True
        elif key is None:
            self._refuse("a key that is not text")
        elif key in holder.value:
            self._refuse(f"{key[:40]} is there twice" if key.isprintable() else "a key is there twice")
        else:
            holder.key = key

    def _merge(self, closed: _Open) -> None:
        """Add the entries of its merge keys (`<<`) to a mapping; its own entries come first."""
        for merged in closed.merges:
            for source in merged if isinstance(merged, list) else [merged]:
                holder = closed.value
                if not isinstance(source, dict) or not isinstance(holder, dict):
                    self._refuse("a merge key (<<) of something that is not a mapping")
                self._more(len(source))
                closed.value = source | holder

    def _refuse(self, problem: str) -> NoReturn:
        raise ParseError(problem, line=self._line)
