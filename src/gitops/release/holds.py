"""Holds: the reasons for which an environment takes no promotion.

A release file has them as one line of text, `hold`, which runtimes from before there were several holds read
too: reasons with a semicolon between them, and after each reason in brackets who set it, when, and the day on
which it ends. Text that has no such brackets is one reason.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

_MARK = re.compile(
    r" \((?=[^()])"
    r"(?:(?P<by>[^()]+), (?P<at>\d{4}-\d\d-\d\d \d\d:\d\d) UTC)?"
    r"(?:(?(by), )until (?P<until>\d{4}-\d\d-\d\d))?"
    r"\)(?:; |$)"
)
_AT = "%Y-%m-%d %H:%M"
_LONGEST_REASON = 500
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Hold:
    """One reason for which an environment takes no promotion.

    Attributes:
        reason: The reason, one line.
        by: The name of the person who set it; None where the file does not name anybody.
        at: When it was set, to the minute; None with `by`.
        until: The day on which it ends, as that day begins in UTC; None where somebody has to lift it.

    """

    reason: str
    by: str | None = None
    at: datetime | None = None
    until: date | None = None

    def __str__(self) -> str:
        marks = [f"{self.by}, {self.at.astimezone(UTC):{_AT}} UTC"] if self.by and self.at else []
        marks += [f"until {self.until}"] if self.until else []
        return f"{self.reason} ({', '.join(marks)})" if marks else self.reason

    def stands(self, now: datetime) -> bool:
        """Whether it keeps promotions away at the time `now`."""
        return self.until is None or now.astimezone(UTC).date() < self.until

    def plain(self, now: datetime) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        at, until = self.at and self.at.isoformat(), self.until and self.until.isoformat()
        return {"reason": self.reason, "by": self.by, "at": at, "until": until, "stands": self.stands(now)}


def parse(text: str | None) -> tuple[Hold, ...]:
    """Read the line of a release file; `render` gives the same line back.

    Raises:
        ValueError: for a day or a time that does not exist.

    """
    holds: list[Hold] = []
    start = 0
    for mark in _MARK.finditer(text or ""):
        at = datetime.strptime(mark["at"], _AT).replace(tzinfo=UTC) if mark["at"] else None
        until = date.fromisoformat(mark["until"]) if mark["until"] else None
        holds.append(Hold((text or "")[start : mark.start()], mark["by"], at, until))
        start = mark.end()
    rest = (text or "")[start:]
    return (*holds, Hold(rest)) if rest else tuple(holds)


def render(holds: Iterable[Hold]) -> str | None:
    """Return the line of a release file; None without holds."""
    # A reason without brackets would take the one behind it for its own.
    ordered = sorted(holds, key=lambda hold: str(hold) == hold.reason)
    return "; ".join(map(str, ordered)) or None


def standing(text: str | None, now: datetime | None = None) -> tuple[Hold, ...]:
    """Return the holds of a line that keep promotions away now."""
    moment = now or datetime.now(UTC)
    return tuple(hold for hold in parse(text) if hold.stands(moment))


def new(reason: str, by: str, *, until: date | None = None, now: datetime | None = None) -> Hold:
    """Return a hold whose reason and name can be written as they are: one printable line, without marks."""
    at = (now or datetime.now(UTC)).astimezone(UTC).replace(second=0, microsecond=0)
    text = _MARK.sub(lambda mark: f" [{mark[0].strip(' ();')}]; ", _line(reason)[:_LONGEST_REASON])
    name = re.sub(r"[()]", "", _line(by))[:_LONGEST_NAME].strip() or "unknown"
    return Hold(text.strip("; "), name, at, until)


def _line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
