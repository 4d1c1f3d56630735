"""Retention of an environment asks main: with a hold there, everything stays."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops.errors import GitopsError
from gitops.git.workspace import Origin
from gitops.people.expiry import remove_expired
from gitops.release.settings import Settings
from tests.support.lab import Lab

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SETTINGS = Settings.from_environ({"VISAGE_ENVIRONMENT": "staging", "RETENTION_DAYS_SCORED": "30"})


def old(home: Path) -> Path:
    folder = home / "scored" / "upload"
    folder.mkdir(parents=True)
    stamp = (NOW - timedelta(days=31)).timestamp()
    os.utime(folder, (stamp, stamp))
    return folder


def test_a_hold_of_main_keeps_everything(lab: Lab, tmp_path: Path) -> None:
    home = tmp_path / "data"
    folder, origin = old(home), Origin(str(lab.origin.path))
    release = lab.train("first")
    lab.declare("staging", f"commit: {release}\nhold: audit\n")
    asked = {"mirror": tmp_path / "mirror", "settings": SETTINGS, "now": NOW}
    line = remove_expired(origin, "staging", home, **asked)
    assert line["reason"] == "held: audit"
    assert folder.is_dir()
    lab.declare("staging", f"commit: {release}\n")
    assert remove_expired(origin, "staging", home, **asked)["removed"] == {"scored": 1}
    assert not folder.exists()
    record = [json.loads(text) for text in (home / "retention.jsonl").read_text().splitlines()]
    assert [bool(line["reason"]) for line in record] == [True, False]


def test_a_hold_of_a_branch_stops_nothing(lab: Lab, tmp_path: Path) -> None:
    home = tmp_path / "data"
    folder = old(home)
    release = lab.train("first")
    lab.declare("staging", f"commit: {release}\n")
    file = f"commit: {release}\nhold: mine\n".encode()
    commit = lab.branch("invented", {"environments/staging/release.yaml": file})
    lab.origin.git("tag", "main", commit)
    asked = {"mirror": tmp_path / "mirror", "settings": SETTINGS, "now": NOW}
    line = remove_expired(Origin(str(lab.origin.path)), "staging", home, **asked)
    assert line["reason"] == ""
    assert not folder.exists()


@pytest.mark.parametrize("days", ["-1", "1e9", "0.5", "36501", "thirty", "nan"])
def test_days_that_are_no_number_of_days_are_refused_by_name(days: str) -> None:
    with pytest.raises(GitopsError, match="RETENTION_DAYS_SCORED"):
        Settings.from_environ({"VISAGE_ENVIRONMENT": "staging", "RETENTION_DAYS_SCORED": days})
