import os
from datetime import date, timedelta

import pytest

from dashboard import daily_stats
from tests.dashboard.world import TODAY, World


def figures(**means: float) -> dict[str, dict[str, float]]:
    return {name: {"mean_score": mean, "positive": mean / 2} for name, mean in means.items()}


def read(world: World, since: date = TODAY, until: date = TODAY) -> list[daily_stats.DailyStats]:
    return daily_stats.read(world.home, since, until)


def test_nothing_was_scored_yet(world: World) -> None:
    assert read(world) == []


def test_batches_of_a_day_are_added_and_weighed_by_their_images(world: World) -> None:
    world.batch(TODAY, "a", 100, quarantined={"not a JPEG": 2}, attributes=figures(Smiling=0.2))
    world.batch(
        TODAY, "b", 300, quarantined={"not a JPEG": 1, "x": 1}, attributes=figures(Smiling=0.6, Male=1)
    )
    world.batch(TODAY, "c", 0, quarantined={"x": 5})
    [day] = read(world)
    assert (day.batches, day.rows, day.bad) == (3, 400, 9)
    assert day.quarantined == {"not a JPEG": 3, "x": 6}
    assert day.mean_scores == {"Smiling": pytest.approx(0.5), "Male": 1}
    assert day.positive["Smiling"] == pytest.approx(0.25)


def test_only_the_days_that_are_asked_for(world: World) -> None:
    for number in range(5):
        world.batch(TODAY - timedelta(days=number), "a")
    (world.home / "scores/by-hand").mkdir()
    (world.home / "scores/date=never").mkdir()
    (world.home / f"scores/date={TODAY - timedelta(days=5)}").touch()
    found = read(world, TODAY - timedelta(days=3), TODAY - timedelta(days=1))
    assert [day.day for day in found] == [TODAY - timedelta(days=number) for number in (3, 2, 1)]
    assert len(read(world, TODAY - timedelta(days=9))) == 5


def test_a_day_that_changed_is_read_again_and_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.batch(TODAY, "a", 1)
    world.batch(TODAY - timedelta(days=1), "b", 10)
    since = TODAY - timedelta(days=1)
    assert [day.rows for day in read(world, since)] == [10, 1]
    before = daily_stats._read.cache_info().misses
    world.batch(TODAY, "c", 5)
    assert [day.rows for day in read(world, since)] == [10, 6]
    assert daily_stats._read.cache_info().misses == before + 1
    world.batch(TODAY, "a", 2)
    os.utime(path, ns=(1, 1))
    assert [day.rows for day in read(world, since)] == [10, 7]


def test_scores_without_figures_and_figures_that_are_damaged(world: World) -> None:
    good = world.batch(TODAY, "mon.day", 4)
    good.with_suffix(".parquet").touch()
    (good.parent / "old.parquet").touch()
    (good.parent / ".new.json.1.partial").write_text("{")
    for number, text in enumerate(["{", "[]", '{"rows": true}', '{"rows": -1}', "[" * 100_000]):
        world.batch(TODAY, f"bad{number}").write_text(text)
    [day] = read(world)
    assert (day.rows, day.batches, day.without) == (4, 1, 1)
    problems = dict(line.split(": ", 1) for line in day.damaged)
    assert list(problems) == [f"date={TODAY}/bad{number}.json" for number in range(5)]
    assert problems[f"date={TODAY}/bad3.json"] == "rows: Input should be greater than or equal to 0"


def test_weeks_are_called_by_their_monday() -> None:
    monday = date(2026, 11, 23)
    found = daily_stats.weekly(
        [daily_stats.DailyStats(monday + timedelta(days=number), 1, 10) for number in (-1, 0, 6, 7)]
    )
    assert [(week.day, week.rows) for week in found] == [
        (monday - timedelta(days=7), 10),
        (monday, 20),
        (monday + timedelta(days=7), 10),
    ]
