"""The repository's Markdown pages as their readers have them: headings, links, and code with its mark.

A mark is an HTML comment before a block of code, which no reader sees. It says where the block runs:

    <!-- place: clone -->           a fresh clone with its .venv active; runs in `make test`
    <!-- place: engine -->          such a clone whose three Airflows are up; runs in `make test-all`
    <!-- place: lab -->             a repository with releases in three environments; runs in `make test`
    <!-- place: own data -->        a clone with a folder of photographs; runs in `make test`
    <!-- place: compose -->         an environment of Docker Compose; only its words are checked
    <!-- place: nowhere, why -->    not run, for a reason

or what a block of Python is:

    <!-- dag: name_dag.py -->    a DAG file of the house
    <!-- tasks -->               tasks of a DAG
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[2]
SHELL = ("sh", "bash")

# How deep markdown-it's parser counts the words of a cell: table, body, row, cell.
_IN_A_CELL = 4
_MARK = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
_HTML_TARGET = re.compile(r"""(?:href|src|srcset)=["']([^"'\s]+)""")
_HTML_ANCHOR = re.compile(r"""(?:id|name)=["']([^"']+)""")


@dataclass(frozen=True)
class Heading:
    """A heading: its level, its words, and the anchor that GitHub and the site give it."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True)
class Link:
    """A link or an image: what it leads to, and the line that it is on."""

    target: str
    line: int


@dataclass(frozen=True)
class Block:
    """A block of code, its first line, and what the comment before it says."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def place(self) -> str:
        """Where it runs, as the mark says; empty where nothing says so."""
        return self.mark.removeprefix("place:").strip() if self.mark.startswith("place:") else ""


class Page:
    """One page, by its path in the repository."""

    def __init__(self, path: Path, root: Path = ROOT) -> None:
        self.path = path
        self.root = root
        self._tokens = MarkdownIt("commonmark").enable("table").parse((root / path).read_text())

    @cached_property
    def headings(self) -> list[Heading]:
        """Its headings in their order; a second one of the same words has another anchor."""
        found: list[Heading] = []
        for opened, inline in zip(self._tokens, self._tokens[1:], strict=False):
            if opened.type == "heading_open":
                text = "".join(
                    part.content for part in inline.children or () if part.type in ("text", "code_inline")
                )
                plain = anchor(text)
                before = sum(anchor(one.text) == plain for one in found)
                found.append(Heading(int(opened.tag[1:]), text, f"{plain}-{before}" if before else plain))
        return found

    @cached_property
    def anchors(self) -> set[str]:
        """All that a link may name behind #."""
        html = "".join(token.content for token in _all(self._tokens) if token.type.startswith("html"))
        return {heading.anchor for heading in self.headings} | set(_HTML_ANCHOR.findall(html))

    @cached_property
    def links(self) -> list[Link]:
        """Its links and images in their order, those of raw HTML among them."""
        found = []
        for token in self._tokens:
            line = token.map[0] + 1 if token.map else 0
            for part in _all([token]):
                if part.type in ("link_open", "image"):
                    found.append(Link(str(part.attrGet("href") or part.attrGet("src")), line))
                elif part.type.startswith("html"):
                    shown = _MARK.sub("", part.content)
                    found += [Link(target, line) for target in _HTML_TARGET.findall(shown)]
        return found

    @cached_property
    def blocks(self) -> list[Block]:
        """Its fenced blocks of code in their order."""
        found = []
        for before, token in zip([None, *self._tokens], self._tokens, strict=False):
            if token.type != "fence":
                continue
            comment = (
                _MARK.fullmatch(before.content.strip()) if before and before.type == "html_block" else None
            )
            line = token.map[0] + 1 if token.map else 0
            mark = comment[1] if comment else ""
            found.append(Block(self.path, line, token.info.strip(), token.content, mark))
        return found

    @cached_property
    def words(self) -> int:
        """The number of words of paragraphs, lists, headings and tables, without blocks of code."""
        return sum(len(token.content.split()) for token in self._tokens if token.type == "inline")

    @cached_property
    def list_items(self) -> int:
        """The number of items in its lists, as GitHub reads them."""
        return sum(token.type == "list_item_open" for token in self._tokens)

    @cached_property
    def sections(self) -> list[list[str]]:
        """The words in backticks, section by section; the first section is what comes before any heading."""
        found: list[list[str]] = [[]]
        for token in self._tokens:
            if token.type == "heading_open":
                found.append([])
            found[-1] += [part.content for part in token.children or () if part.type == "code_inline"]
        return found

    @cached_property
    def tables(self) -> dict[str, list[list[str]]]:
        """The rows of the tables below each heading: of every cell the words in backticks, a line each."""
        found: dict[str, list[list[str]]] = {}
        headings = iter(self.headings)
        rows = found.setdefault("", [])
        for token in self._tokens:
            if token.type == "heading_open":
                rows = found.setdefault(next(headings).text, [])
            elif token.type == "tr_open":
                rows.append([])
            elif token.type in ("td_open", "th_open"):
                rows[-1].append("")
            elif token.type == "inline" and token.level == _IN_A_CELL:
                words = [part.content for part in token.children or () if part.type == "code_inline"]
                rows[-1][-1] = "\n".join(words)
        return found

    @cached_property
    def rows(self) -> list[list[str]]:
        """The rows of all its tables."""
        return [row for rows in self.tables.values() for row in rows]


def anchor(text: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def pages(root: Path = ROOT) -> list[Page]:
    """All Markdown pages that git knows or would add."""
    listed = captured(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"],
        cwd=root,
        check=True,
    ).stdout
    names = sorted({name for name in listed.split("\0") if name and (root / name).is_file()})
    return [Page(Path(name), root) for name in names]


def _all(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or ()
