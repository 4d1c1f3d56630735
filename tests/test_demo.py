"""`make demo-drift` as a user runs it: from a fresh clone to an alarm that was raised and has cleared."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_first_run import Clone

pytestmark = [pytest.mark.long, pytest.mark.timeout(5400)]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clone, str]]:
    """A clone in which the demo was played, and what it printed."""
    clone = Clone(tmp_path_factory.mktemp("demo") / "visage")
    try:
        yield clone, clone.make("demo-drift", "YES=1", timeout=5000)
    finally:
        clone.make("clean", "YES=1")


def record(clone: Clone) -> list[dict[str, Any]]:
    path = clone.path / ".visage/prod/data/monitoring/decisions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def checks(clone: Clone) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The first check, the one that raises the alarm, and the last."""
    lines = record(clone)
    raised = next(line for line in lines if line["alarm"])
    return lines[0], raised, lines[-1]


def test_the_new_release_is_surely_better_on_what_drifted(played: tuple[Clone, str]) -> None:
    clone, _ = played
    clone.git("fetch", "--quiet", "visage")
    _, before, after = (line["performance"] for line in checks(clone))
    assert after["mean_accuracy_low"] > before["mean_accuracy_high"]
    figures = json.loads(clone.git("show", "visage/main:metrics/drifted.json"))
    assert figures["mean_accuracy"]["low"] > 0
    assert figures["samples"] >= 100


def test_the_alarm_is_raised_and_clears_with_the_release_that_learnt_it(played: tuple[Clone, str]) -> None:
    clone, said = played
    calm, raised, cleared = checks(clone)
    assert (calm["drift"]["drifted"], calm["alarm"]) == (False, [])
    assert raised["drift"]["drifted"] is True
    assert raised["episodes"]["drift"]["state"] == "begins"
    assert raised["triggered"] == f"monitoring__{raised['run_id']}"
    assert (cleared["drift"]["drifted"], cleared["alarm"]) == (False, [])
    assert cleared["episodes"]["drift"]["state"] == "clears"
    assert cleared["drift"]["population"].startswith("prod-")
    assert calm["release"] == raised["release"] != cleared["release"]
    assert "the alarm drift begins" in said
    assert "the alarm drift clears" in said


def test_the_training_learnt_the_labelled_images(played: tuple[Clone, str]) -> None:
    clone, _ = played
    listed = clone.git("ls-tree", "--name-only", "visage/main", "data/labelled/").splitlines()
    assert [Path(path).name.startswith("prod-") for path in listed if path.endswith(".dvc")] == [True]


def test_played_twice_it_says_so(played: tuple[Clone, str]) -> None:
    clone, _ = played
    with pytest.raises(AssertionError, match=r"the demo is complete: .*\n *Next: make clean"):
        clone.make("demo-drift", "YES=1")
