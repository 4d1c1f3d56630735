"""The times that documents name."""

import re

from tests.workflows.conftest import ROOT
from tests.workflows.costs import TAKEN


def test_one_page_names_the_time_of_lint_and_the_costs_take_the_same() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    named = {
        (page.name, time)
        for page in pages
        for time in re.findall(r"`make lint`[^\n`]*?\b(\d+) (?:s|seconds|minutes?)\b", page.read_text())
    }
    assert named == {("github-workflows.md", str(TAKEN["lint"]))}
