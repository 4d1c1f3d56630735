"""The commands of docs/operating.md work."""

import os
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Page
from tests.docs.places import Place
from tests.support.lab import Lab

PAGE = Page(Path("docs/operating.md"))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.train("a")
    lab.release("staging")
    made = lab.origin.tag(lab.tip, "archive/manual", "Run manual")
    lab.origin.git("update-ref", "refs/tags/archive/manual", made)
    (lab.clone.path / ".venv").symlink_to(sys.prefix)
    return lab


@pytest.mark.long
def test_its_commands_work(lab: Lab) -> None:
    path = os.pathsep.join([str(lab.clone.path / ".venv/bin"), os.environ.get("PATH", os.defpath)])
    blocks = [block for block in PAGE.blocks if block.place == "lab"]
    assert [block for block in PAGE.blocks if block.language == "sh"] == blocks
    printed = Place(lab.clone.path, {"PATH": path}).walk(blocks, seconds=120)
    assert "Git has all" in printed
    assert "Wrote 1 runs to mlruns" in printed
    assert "change failure" in printed


def test_the_kinds_of_events_are_those_that_there_are() -> None:
    source = (ROOT / "src/gitops/history/events.py").read_text()
    text = (ROOT / PAGE.path).read_text()
    kinds = ("change", "release", "rollback", "hold", "unhold", "override", "invalid", "settings")
    for kind in (*kinds, "environment", "calendar", "keys", "verified", "rejected", "approved", "ignored"):
        assert f"`{kind}`" in text
        assert kind in source
