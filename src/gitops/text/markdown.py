"""Markdown that shows text from elsewhere as it is, and that never grows longer than a forge takes."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Plain enough that no Markdown means anything else by it, wherever in a line it stands.
_PLAIN = re.compile(r"[A-Za-z0-9 ,/%()+=:;'_.\[\]{}\"@#~^&*!?-]*")
# With a meaning in the middle of a line. A forge makes links of @name and #1 even where they are entities,
# but not where something invisible stands between.
_MEANT = re.compile(r"[^A-Za-z0-9 .,;:=%()+/'?-]|(?<=www)\.|:(?=//)", re.IGNORECASE)
_INVISIBLE = "&#8203;"
_LONGEST_CELL = 200


def code(text: object, *, longest: int = _LONGEST_CELL) -> str:
    """Return any text as inline code on one line: no mention, link, picture or tag comes of it."""
    line = one_line(text, longest=longest)
    if not line:
        return ""
    # A backtick ends code, a bar a table's cell, and an angle bracket may look like a tag to simpler readers.
    if _PLAIN.fullmatch(line):
        return f"`{line}`"
    return f"<code>{_entities(line)}</code>"


def plain(text: object, *, longest: int = _LONGEST_CELL) -> str:
    """Return any text on one line, with everything that Markdown or HTML gives a meaning taken out of it."""
    return _entities(one_line(text, longest=longest))


def one_line(text: object, *, longest: int = _LONGEST_CELL) -> str:
    """Return text on one line of at most `longest` characters that can all be printed."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Titles and cells are Markdown already."""
    lines = [_row(columns), _row(["---"] * len(columns)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def fenced(text: str, language: str = "") -> str:
    """Return text as a block of code, whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _entities(line: str) -> str:
    return _MEANT.sub(lambda match: f"&#{ord(match[0])};{_INVISIBLE if match[0] in '@#' else ''}", line)


_MOST_TITLES = 12
"""The parts whose names stand where they were left out."""


@dataclass(frozen=True)
class Fold:
    """A part that is folded until somebody opens it. `body` is Markdown."""

    title: str
    body: str

    def __str__(self) -> str:
        return f"<details>\n<summary>{plain(self.title)}</summary>\n\n{self.body}\n\n</details>"


def fit(first: str, folds: Sequence[Fold], *, longest: int, whole: str = "") -> str:
    """Put the first screen and the folded parts together in at most `longest` characters.

    Parts that do not fit are left out, beginning with the last fold, and a line states that; `whole` is
    Markdown for where all of it is. A first screen that alone is too long ends where a line does.
    """
    folds = [fold for fold in folds if fold.body]
    for kept in range(len(folds), -1, -1):
        left_out = [fold.title for fold in folds[kept:]]
        tail = [_left_out(left_out, whole)] if left_out else []
        text = "\n\n".join([first, *map(str, folds[:kept]), *tail]) + "\n"
        if len(text) <= longest:
            return text
    titles = [*(fold.title for fold in folds), "the end of the first part"]
    ends = [f"\n\n{_left_out(titles, whole, most)}\n" for most in (_MOST_TITLES, 3, 0)]
    # Titles are as long as the text that they quote.
    end = next((one for one in ends if len(one) <= longest // 2), ends[-1])
    lines: list[str] = []
    used = len(end)
    for line in first.split("\n"):
        used += len(line) + 1
        if used > longest:
            break
        lines.append(line)
    if sum(line.startswith("```") for line in lines) % 2:
        while lines and not lines[-1].startswith("```"):
            lines.pop()
        lines.pop()
    return "\n".join(lines) + end


def _left_out(titles: Sequence[str], whole: str, most: int = _MOST_TITLES) -> str:
    shown = ", ".join(plain(title, longest=60) for title in titles[:most])
    rest = len(titles) - most
    more = (f" and {rest} more" if most else f"{rest} parts") if rest > 0 else ""
    return f"_Left out for length: {shown}{more}.{f' {whole}' if whole else ''}_"
