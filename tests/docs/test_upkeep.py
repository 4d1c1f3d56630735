"""The commands of docs/upkeep.md work."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops.people.retention import COPIES
from tests.docs.pages import ROOT, Page
from tests.docs.places import Place
from tests.support.figures import model_md5
from tests.support.lab import Lab
from tests.support.store import Trainings, digests

PAGE = Page(Path("docs/upkeep.md"))
SCREENS = 100


def test_it_is_two_screens_and_other_pages_lead_to_it() -> None:
    text = (ROOT / PAGE.path).read_text()
    assert len(text.splitlines()) <= SCREENS
    for page in ("docs/operating.md", "docs/how-to-platform.md", "mkdocs.yml"):
        assert "upkeep.md" in (ROOT / page).read_text()
    for folder, _ in COPIES:
        assert f"`{folder}/`" in text


def test_its_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, store = Lab(tmp_path / "lab"), tmp_path / "store"
    config = (
        f"[core]\n    analytics = false\n    remote = storage\n['remote \"storage\"']\n    url = {store}\n"
    )
    lab.land({".dvc/config": config.encode(), ".dvc/.gitignore": b"/cache\n/tmp\n"})
    lab.clone.git("pull", "--quiet", "origin", "main")
    made = Trainings(lab, store, lab.clone.path / ".dvc" / "cache", monkeypatch)
    at = datetime.now(UTC) - timedelta(days=30)
    made.release("one", at, "staging")
    made.make("garbage", at)
    lost = store / "files" / "md5" / model_md5("one")[:2] / model_md5("one")[2:]
    (lab.clone.path / ".venv").symlink_to(sys.prefix)
    path = os.pathsep.join([str(lab.clone.path / ".venv/bin"), os.environ.get("PATH", os.defpath)])
    blocks = [block for block in PAGE.blocks if block.place == "lab"]
    assert [block for block in PAGE.blocks if block.language == "sh"] == blocks
    printed = Place(lab.clone.path, {"PATH": path}).walk(blocks, seconds=300)
    assert "would be removed: 3 objects of storage" in printed
    assert "All of them are there" in printed
    assert model_md5("garbage") not in digests(store / "files" / "md5")
    assert lost.read_bytes() == b"one"
