"""Each promise of security names tests that exist."""

import ast
import re

from tests.docs.pages import ROOT

PAGE = ROOT / "docs/promises.md"
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_the_tests_of_each_promise_exist() -> None:
    text = PAGE.read_text()
    tests = TEST.findall(text)
    rows = [line for line in text.splitlines() if line.startswith("| ") and ".py::" in line]
    assert len(rows) > 20
    missing = []
    for path, name in tests:
        file = ROOT / "tests" / path
        known = set()
        if file.is_file():
            known = {
                node.name
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.FunctionDef)
            }
        if name not in known:
            missing.append(f"{path}::{name}")
    assert missing == []


def test_each_promise_has_a_test() -> None:
    rows = [
        line
        for line in PAGE.read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| promise")
    ]
    assert [row for row in rows if not TEST.search(row)] == []


PROMISING = (
    "SECURITY.md",
    "docs/threat-model.md",
    *(f"docs/{name}.md" for name in ("releases", "signatures", "preview", "people")),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs/decisions").glob("0*.md")),
)
# Of the other tools and ways, in the list of what was rejected
OTHERS = re.compile(r"^- \*.*?(?=^- |^$)", re.MULTILINE | re.DOTALL)


def test_each_sentence_that_excludes_something_has_a_test() -> None:
    table = PAGE.read_text().partition("## Sentences of other pages")[2]
    sentences = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if "::" in line]
    unproved, used = [], set()
    for name in PROMISING:
        text = " ".join(OTHERS.sub("", (ROOT / name).read_text()).split())
        for match in re.finditer(r"\b(?:cannot|never)\b", text):
            proved = {
                sentence
                for sentence in sentences
                for found in re.finditer(re.escape(sentence), text)
                if found.start() <= match.start() < found.end()
            }
            used |= proved
            if not proved:
                unproved.append(f"{name}: {text[max(match.start() - 60, 0) : match.end() + 40]}")
    assert unproved == []
    assert set(sentences) == used
