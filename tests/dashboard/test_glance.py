"""What is wrong comes first and is the largest; where all is well, the page stays calm."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from dashboard import page, processes
from dashboard.glance import WARN
from dashboard.page import View
from dashboard.processes import Starts
from tests.dashboard.world import NOW, World, column, performance

DRIFT = {"drifted": True, "columns": {"Male_score": column(0.4)}}


def look(world: World) -> View:
    world.serve()
    return page.look(13, NOW)


@pytest.fixture
def running(world: World) -> World:
    """An environment in which all is well."""
    world.release("first", 0.951)
    world.release("second", 0.962)
    world.batch(NOW.date(), "a", 500)
    world.check(NOW - timedelta(hours=2), performance=performance(0.961))
    return world


def test_an_environment_that_never_was_checked_is_told(world: World) -> None:
    world.release("first", 0.951)
    later = NOW + timedelta(days=400)  # the release is of the time that the test runs at
    world.batch(later.date(), "a", 500)
    world.serve()
    view = page.look(13, later)
    (alarm,) = view.alarms
    assert (alarm.kind, alarm.title) == ("warn", "The weekly check is missing.")
    assert alarm.text.startswith("There was no check since ")
    assert (view.tiles[0].title, view.tiles[0].figure, view.tiles[0].kind) == ("Last check", "none", "warn")


def test_where_all_is_well_the_page_is_calm(running: World) -> None:
    view = look(running)
    assert view.alarms == ()
    assert [tile.kind for tile in view.tiles] == ["", "", "", ""]
    accuracy = next(tile for tile in view.tiles if tile.title == "Accuracy")
    assert (accuracy.figure, accuracy.text) == ("96.10%", "on 640 late labels (claimed 96.20%), check of")


def test_without_late_labels_the_accuracy_is_that_of_the_release(world: World) -> None:
    world.release("first", 0.951)
    accuracy = next(tile for tile in look(world).tiles if tile.title == "Accuracy")
    assert (accuracy.figure, accuracy.text) == ("95.10%", "on the hold-out set")


def test_an_accuracy_below_the_threshold_is_the_largest_figure(running: World) -> None:
    running.check(
        NOW, performance=performance(0.83), alarm=["accuracy"], reasons=["Accuracy 83 %", "Drift: x"]
    )
    view = look(running)
    first, *others = view.tiles
    assert (first.title, first.figure, first.kind) == ("Accuracy", "83.00%", "bad")
    assert first.text == "on 640 late labels (claimed 96.20%), check of"
    assert "bad" not in [tile.kind for tile in others]
    assert [(alarm.kind, alarm.runbook) for alarm in view.alarms] == [("bad", "accuracy")]
    assert view.alarms[0].text == "Accuracy 83 %."


def test_an_open_alarm_without_new_labels_shows_what_was_measured_last(running: World) -> None:
    running.check(NOW - timedelta(hours=1), performance=performance(0.83), alarm=["accuracy"])
    running.check(NOW, performance=performance(None), alarm=["accuracy"])
    first = look(running).tiles[0]
    assert (first.figure, first.kind) == ("83.00%", "bad")
    assert first.at == NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    ("check", "runbook", "tile"),
    [
        ({"drift": DRIFT}, "drift", "Last check"),
        ({"drift": DRIFT, "alarm": ["drift"]}, "drift", "Last check"),
        ({"drift": {"enough_data": False, "drifted": None}, "alarm": ["drift"]}, "drift", "Last check"),
    ],
    ids=["drift", "drift alarm", "drift alarm that is open"],
)
def test_a_drift_is_red(running: World, check: dict[str, object], runbook: str, tile: str) -> None:
    running.check(NOW, **check)
    view = look(running)
    assert (view.tiles[0].title, view.tiles[0].kind) == (tile, "bad")
    assert [(alarm.kind, alarm.runbook) for alarm in view.alarms] == [("bad", runbook)]


def test_a_rejected_release_is_red_and_says_what_runs(running: World) -> None:
    running.serve()
    bad = running.release("third", verdict="rejected")
    view = look(running)
    first = view.tiles[0]
    assert (first.title, first.figure, first.kind) == ("Release", "rejected", "bad")
    assert first.text.startswith(f"{bad[:12]}; ")
    assert first.text.endswith(" is running")
    assert [(alarm.kind, alarm.runbook) for alarm in view.alarms] == [("bad", "verify_release")]
    assert re.match(rf"[0-9a-f]{{12}} still runs. Staging rejected {bad[:12]} ", view.alarms[0].text)


def test_a_refused_release_file_is_red(running: World) -> None:
    running.serve()
    running.lab.declare("staging", "commit: nonsense\n")
    view = look(running)
    assert (view.tiles[0].figure, view.tiles[0].kind) == ("refused", "bad")
    assert view.alarms[0].kind == "bad"


def test_a_hold_is_amber(running: World) -> None:
    running.lab.declare(
        "staging", f"commit: {running.lab.state().present('staging').commit}\nhold: on fire\n"
    )
    view = look(running)
    assert [(alarm.kind, alarm.text) for alarm in view.alarms] == [("warn", "On fire.")]
    assert (view.tiles[0].title, view.tiles[0].kind) == ("Release", "warn")


def test_a_process_that_was_started_again_is_amber_for_a_day(
    running: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(processes.FOLDER, str(tmp_path))
    note = tmp_path / "staging-scheduler.starts"
    for last, shown in ((NOW - timedelta(hours=2), True), (NOW - timedelta(hours=25), False)):
        note.write_text(Starts(service="staging/scheduler", count=4, last=last).model_dump_json())
        found = [alarm for alarm in look(running).alarms if alarm.title.startswith("Processes ended")]
        assert bool(found) is shown
        if shown:
            assert found[0].kind == WARN
            assert found[0].text.startswith("scheduler: 3 times, the last one 2 h ago.")
    note.write_text("{")
    assert any(alarm.title == "Nobody knows whether processes ended." for alarm in look(running).alarms)


def test_a_release_without_a_verdict_is_amber_after_an_hour(world: World) -> None:
    world.release("first", verdict=None)
    world.serve()
    change = page.look(13, NOW).running.value.change
    assert page.look(13, change.at + timedelta(minutes=59)).alarms == ()
    (alarm,) = page.look(13, change.at + timedelta(minutes=61)).alarms
    assert (alarm.kind, alarm.runbook) == ("warn", "verify_release")


def test_checks_that_stopped_are_amber_where_images_are_still_scored(running: World, world: World) -> None:
    later = NOW + timedelta(days=20)
    world.serve()
    assert page.look(13, later).alarms == (), "nothing was scored, so nothing was to be checked"
    world.batch(later.date(), "b", 100)
    (alarm,) = page.look(13, later).alarms
    assert (alarm.kind, alarm.runbook) == ("warn", "model_monitoring_and_retraining")


def test_a_week_of_quarantine_is_amber(running: World) -> None:
    running.batch(NOW.date(), "few", 100, quarantined={"not a JPEG": 20})
    assert look(running).alarms == (), "3 % is a matter for the section below"
    running.batch(NOW.date(), "many", 100, quarantined={"not a JPEG": 50})
    view = look(running)
    assert [(alarm.kind, alarm.runbook) for alarm in view.alarms] == [("warn", "score_faces")]
    assert (view.tiles[0].figure, view.tiles[0].kind) == ("70", "warn")


def test_the_most_urgent_comes_first(running: World) -> None:
    running.lab.declare(
        "staging", f"commit: {running.lab.state().present('staging').commit}\nhold: on fire\n"
    )
    running.batch(NOW.date(), "many", 100, quarantined={"not a JPEG": 90})
    running.check(NOW, drift=DRIFT, performance=performance(0.83), alarm=["accuracy", "drift"])
    view = look(running)
    assert [alarm.runbook for alarm in view.alarms] == ["accuracy", "drift", "score_faces", None]
    assert [tile.kind for tile in view.tiles] == ["bad", "bad", "warn", "warn"]
    assert view.tiles[0].title == "Accuracy"
