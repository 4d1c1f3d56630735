from datetime import date, timedelta

from dashboard import charts, checks
from dashboard.daily_stats import DailyStats
from dashboard.plot import Span
from gitops.model.metrics import Interval
from tests.dashboard.world import NOW, TODAY, World, column, performance

SPAN = Span(TODAY - timedelta(days=90), TODAY)


def record(world: World) -> list[checks.Check]:
    return list(checks.read(world.home).checks)


def test_nothing_is_no_plot() -> None:
    assert charts.volume(SPAN, [], 1) is None
    assert charts.quarantine(SPAN, [DailyStats(TODAY, 1, 5)], 1) is None
    assert charts.drift(SPAN, []) is None
    assert charts.accuracy(SPAN, [], None) is None
    assert charts.sparks(SPAN, [], {}) == []


def test_volume_says_in_words_what_it_shows() -> None:
    plot = charts.volume(SPAN, [DailyStats(TODAY - timedelta(days=1), 2, 1500), DailyStats(TODAY, 1, 50)], 1)
    assert plot.description == "1,550 images in total. The maximum is 1,500, on 2026-11-24."
    assert plot.rows == (("2026-11-25", "1", "50"), ("2026-11-24", "2", "1,500"))
    assert len(plot.bars) == 2
    assert plot.bars[0][3] > plot.bars[1][3]


def test_dots_of_drift_look_like_what_was_found(world: World) -> None:
    world.check(NOW - timedelta(days=14))
    moved = {"drifted": True, "columns": {"Male_score": column(0.25)}}
    world.check(NOW - timedelta(days=7), drift=moved)
    world.check(NOW, drift=moved, alarm=["drift"])
    plot = charts.drift(SPAN, record(world))
    assert [dot.kind for dot in plot.dots] == ["calm", "bad", "alarm"]
    assert [dot.y for dot in plot.dots] == sorted([dot.y for dot in plot.dots], reverse=True)
    [(limit, _)] = plot.rules
    assert plot.dots[1].y < limit < plot.dots[0].y, "y is downwards"
    assert plot.rows[0][1:] == ("drift (1 column)", "Male_score", "2.50")
    assert ">2026-11-25 12:00 UTC</time>" in plot.rows[0][0]


def test_accuracy_with_its_interval_threshold_and_claim(world: World) -> None:
    world.check(NOW - timedelta(days=7), performance=performance(0.9))
    world.check(NOW - timedelta(days=3))
    world.check(NOW, performance=performance(0.8))
    plot = charts.accuracy(SPAN, record(world), Interval(0.95))
    assert [dot.kind for dot in plot.dots] == ["calm", "bad"]
    assert plot.whiskers.count("M") == 2
    (threshold, _), (claim, _) = plot.rules
    assert claim < plot.dots[0].y < threshold < plot.dots[1].y
    assert "The last accuracy is 80.00% (79.00% to 81.00%); the threshold is 85.00%" in plot.description


def test_a_trifle_looks_like_one() -> None:
    def week(number: int, mean: float) -> DailyStats:
        return DailyStats(
            date(2026, 11, 2) + timedelta(weeks=number), 1, 10, {}, {"Bald": mean}, {"Bald": mean}
        )

    [flat] = charts.sparks(SPAN, [week(0, 0.5), week(1, 0.51)], {"Bald": 0.5})
    [steep] = charts.sparks(SPAN, [week(0, 0.1), week(1, 0.9)], {})

    def height(line: str) -> float:
        ys = [float(point.split(" ")[1]) for point in line.removeprefix("M").split("L")]
        return max(ys) - min(ys)

    assert height(flat.line) < 10
    assert height(steep.line) > 90
    assert (flat.first, flat.last, flat.expected, steep.expected) == (0.5, 0.51, 0.5, None)
