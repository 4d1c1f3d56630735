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
