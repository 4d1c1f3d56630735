"""A page in French says what its English twin says: the same headings, code, words in backticks and links."""

import io
import re
import tokenize
from collections import Counter
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest

from tests.docs.pages import Block, Page, pages

START = Path("docs/fr/index.md")
"""The page that lists the pages in French; it has no English twin."""
TWINS = {
    Path("docs/fr/ecrire-un-dag.md"): Path("docs/write-a-dag.md"),
    Path("docs/fr/guide-airflow.md"): Path("docs/airflow-guide.md"),
    Path("docs/fr/reglages-airflow.md"): Path("docs/airflow-settings.md"),
    Path("docs/fr/runbooks/accuracy.md"): Path("docs/runbooks/accuracy.md"),
    Path("docs/fr/runbooks/drift.md"): Path("docs/runbooks/drift.md"),
    Path("docs/fr/tutoriel.md"): Path("docs/tutorial.md"),
}


def differences(english: Page, french: Page) -> list[str]:
    """What one of two pages has and the other has not, each as a line; nothing where they are in step."""
    found = []
    levels = [[heading.level for heading in page.headings] for page in (english, french)]
    if levels[0] != levels[1]:
        pairs = zip(english.headings, french.headings, strict=False)
        apart = next((f"{a.text!r} and {b.text!r}" for a, b in pairs if a.level != b.level), "the last ones")
        return [f"{len(levels[0])} headings and {len(levels[1])}: apart from {apart} on"]
    for heading, ours, theirs in zip(
        ["the introduction", *(one.text for one in english.headings)],
        english.sections,
        french.sections,
        strict=True,
    ):
        for word in (Counter(ours) - Counter(theirs)).elements():
            found.append(f"{heading}: `{word}` is missing in French")
        for word in (Counter(theirs) - Counter(ours)).elements():
            found.append(f"{heading}: `{word}` is in French alone")
    if len(english.blocks) != len(french.blocks):
        found.append(f"{len(english.blocks)} blocks of code and {len(french.blocks)}")
    for ours, theirs in zip(english.blocks, french.blocks, strict=False):
        if (ours.language, ours.mark) != (theirs.language, theirs.mark):
            found.append(f"{theirs}: {theirs.language} ({theirs.mark}) for {ours.language} ({ours.mark})")
        elif code(ours) != code(theirs):
            found.append(f"{theirs}: not the code of {ours}")
    ours, theirs = _targets(english, french), _targets(french, english)
    found += [
        f"{target}: the link is missing in French" for target in (Counter(ours) - Counter(theirs)).elements()
    ]
    found += [
        f"{target}: the link is in French alone" for target in (Counter(theirs) - Counter(ours)).elements()
    ]
    return found


def code(block: Block) -> list[str]:
    """The lines of a block without comments, which are in the language of the page."""
    if block.language == "python":
        tokens = tokenize.generate_tokens(io.StringIO(block.text).readline)
        quiet = (tokenize.COMMENT, tokenize.NL)
        return [token.string for token in tokens if token.type not in quiet]
    lines = (re.sub(r"(^|\s)#( .*)?$", "", line).rstrip() for line in block.text.splitlines())
    return [line for line in lines if line]


def _targets(page: Page, other: Page) -> list[str]:
    """Where the links of a page lead, said so that it is the same for both."""
    places = {heading.anchor: f"heading {number}" for number, heading in enumerate(page.headings)}
    found = []
    for link in page.links:
        path, _, anchor = link.target.partition("#")
        if re.match(r"[a-z]+:", link.target):
            found.append(link.target)
        elif not path:
            found.append(places.get(unquote(anchor), link.target))
        else:
            target = _plain(page.path.parent / path)
            # Each leads to the other.
            twin = target == other.path.as_posix()
            found.append("the twin" if twin else _common(target, unquote(anchor)))
    return found


def _common(target: str, anchor: str) -> str:
    """A link to a page that exists in both languages, or to a heading of it, said the same for both."""
    path = Path(target)
    english = TWINS.get(path, path)
    if english in TWINS.values() and anchor:
        anchors = [heading.anchor for heading in Page(path).headings]
        anchor = f"heading {anchors.index(anchor)}" if anchor in anchors else anchor
    return english.as_posix() + (f"#{anchor}" if anchor else "")


def _plain(path: Path) -> str:
    parts: list[str] = []
    for part in PurePosixPath(path).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


@pytest.mark.parametrize(("french", "english"), TWINS.items(), ids=lambda path: path.name)
def test_they_are_in_step(french: Path, english: Path) -> None:
    assert differences(Page(english), Page(french)) == []


def test_every_french_page_has_its_twin() -> None:
    assert {page.path for page in pages() if page.path.is_relative_to("docs/fr")} == {*TWINS, START}


ENGLISH = """# Guide

[French](fr/guide.md), see [Logs](#logs) and `dags list`.

## Logs

<!-- place: clone -->

```sh
airflow dags list   # all of them
```

[More](compose.md#more)
"""
FRENCH = (
    ENGLISH.replace(
        "[French](fr/guide.md), see [Logs](#logs) and", "[English](../guide.md), voir [Journaux](#journaux),"
    )
    .replace("## Logs", "## Journaux")
    .replace("# all of them", "# tous")
    .replace("[More](compose.md#more)", "[Suite](../compose.md#more)")
)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", "", None),
        ("# tous", "# toutes", None),
        ("## Journaux", "### Journaux", "2 headings and 2: apart from 'Logs' and 'Journaux' on"),
        ("dags list   #", "dags list --local   #", "not the code of docs/guide.md:9"),
        ("place: clone", "place: engine", "sh (place: engine) for sh (place: clone)"),
        ("`dags list`", "`dags liste`", "Guide: `dags list` is missing in French"),
        ("#journaux", "#guide", "heading 1: the link is missing in French"),
        ("compose.md#more", "compose.md", "docs/compose.md#more: the link is missing in French"),
        ("../guide.md", "../releases.md", "the twin: the link is missing in French"),
    ],
)
def test_what_is_out_of_step_is_named(before: str, after: str, said: str | None, tmp_path: Path) -> None:
    (tmp_path / "docs/fr").mkdir(parents=True)
    (tmp_path / "docs/guide.md").write_text(ENGLISH)
    assert before in FRENCH
    (tmp_path / "docs/fr/guide.md").write_text(FRENCH.replace(before, after, 1) if before else FRENCH)
    found = differences(Page(Path("docs/guide.md"), tmp_path), Page(Path("docs/fr/guide.md"), tmp_path))
    assert bool(found) == bool(said)
    if said:
        assert said in "\n".join(found)
