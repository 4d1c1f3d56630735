"""A second reference: the images that a model scored in its first weeks."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from face_attributes.monitoring import drift as drifts
from face_attributes.monitoring import first_weeks, joint_test
from face_attributes.monitoring.drift import drift
from face_attributes.monitoring.score_files import DateRange
from tests.support.described import fits

MODEL = "a" * 64
START = date(2026, 1, 5)
COLUMNS = ("Smiling", "Smiling_score", "embedding_0", "brightness", "noise")


def values(random: np.random.Generator, count: int, light: float = 0.0, smiling: float = 0.0) -> dict:
    """Return the columns of images that are lighter, or smile more, by so many standard deviations."""
    common = random.normal(size=count)
    score = 1 / (1 + np.exp(-2 * (common + random.normal(size=count) + smiling)))
    return {
        "Smiling": score >= 0.5,
        "Smiling_score": score.astype(np.float32),
        "embedding_0": (0.5 * common + random.normal(size=count)).astype(np.float32),
        "brightness": (random.normal(size=count) + light).astype(np.float32),
        "noise": random.normal(size=count).astype(np.float32),
    }


class Place:
    """A reference, and a folder of scores."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder, self.random = folder, np.random.default_rng(seed)
        (folder / "scores").mkdir()

    def refer(self, rows: int, *, known: bool = True, **changes: float) -> None:
        people = np.arange(rows, dtype=np.int32) if known else [None] * rows
        table = pa.table(
            {
                "id": [f"{row}.jpg" for row in range(rows)],
                "partition": ["validation"] * rows,
                "person": pa.array(people, pa.int32()),
                **values(self.random, rows, **changes),
            }
        )
        path = self.folder / "reference.parquet"
        pq.write_table(table.replace_schema_metadata({"model_sha256": MODEL}), path)

    def score(self, days: Sequence[int], count: int = 150, model: str = MODEL, **changes: float) -> None:
        for day in days:
            folder = self.folder / f"scores/date={START + timedelta(days=day)}"
            folder.mkdir(parents=True, exist_ok=True)
            columns = values(self.random, count, **changes)
            rows = {"id": [f"{row}.jpg" for row in range(count)], "model_sha256": [model] * count, **columns}
            pq.write_table(pa.table(rows), folder / f"{model[0]}.parquet")

    def check(self, until: int) -> dict:
        last = START + timedelta(days=until)
        days = DateRange(last - timedelta(days=27), last)
        out, places = self.folder / "drift.json", [self.folder / "scores"]
        return drift(places, self.folder / "reference.parquet", MODEL, out, release="b" * 40, days=days)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_first_weeks_begin_with_the_model(place: Place) -> None:
    place.score(range(5), model="c" * 64)
    place.score([7, 9, 20, 21])
    found = first_weeks.find([place.folder / "scores"], MODEL, COLUMNS)
    assert found is not None
    assert found.days == DateRange(START + timedelta(days=7), START + timedelta(days=20))
    assert (found.rows, found.table.num_rows, found.population.people()) == (450, 450, None)
    assert first_weeks.find([place.folder / "scores"], "d" * 64, COLUMNS) is None


def test_too_few_images_are_no_reference(place: Place) -> None:
    place.score([0, 1], count=40)
    place.score([30, 31])
    assert first_weeks.find([place.folder / "scores"], MODEL, COLUMNS) is None


def test_in_its_first_weeks_a_model_has_one_reference_with_the_whole_error_rate(place: Place) -> None:
    place.refer(400)
    place.score(range(10))
    verdict = place.check(9)
    assert (verdict["first_weeks"], verdict["raised_by"], verdict["drifted"]) == (None, [], False)
    rate = stats.binom.sf(1, 7, verdict["columns"]["noise"]["p_value_threshold"])
    assert rate == pytest.approx(drifts.ALPHA / len(COLUMNS), rel=0.01)


def test_two_references_share_the_error_rate(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    of = joint_test.Reference.of

    def note(columns, people, alpha, window):
        asked.append(alpha)
        return of(columns, people, alpha, window)

    monkeypatch.setattr(joint_test.Reference, "of", note)
    place.refer(400)
    place.score(range(28))
    verdict = place.check(27)
    assert (verdict["drifted"], verdict["raised_by"]) == (False, [])
    weeks = verdict["first_weeks"]
    assert (weeks["since"], weeks["until"], weeks["rows"]) == ("2026-01-05", "2026-01-18", 14 * 150)
    assert (weeks["drifted"], weeks["columns_drifted"], weeks["columns"]) == (False, [], {})
    rate = stats.binom.sf(1, 7, verdict["columns"]["noise"]["p_value_threshold"])
    assert rate == pytest.approx(drifts.ALPHA / 2 / len(COLUMNS), rel=0.01)
    assert asked == [joint_test.ALPHA / 2] * 2
    fits("drift", json.dumps(verdict).encode())


@pytest.mark.parametrize(
    ("first", "later", "known", "raised"),
    [
        (0.0, 1.5, True, ["training", "first weeks"]),
        (1.5, 1.5, True, ["training"]),
        (-0.22, 0.22, False, ["first weeks"]),
    ],
    ids=["since then", "from the first day", "slowly"],
)
def test_an_alarm_names_the_reference_that_raised_it(
    place: Place, first: float, later: float, known: bool, raised: list[str]
) -> None:
    place.refer(400, known=known)
    place.score(range(14), light=first)
    place.score(range(14, 28), light=later)
    verdict = place.check(27)
    assert (verdict["drifted"], verdict["raised_by"]) == (True, raised)
    assert (verdict["columns_drifted"] == ["brightness"]) is ("training" in raised)
    assert (list(verdict["first_weeks"]["columns"]) == ["brightness"]) is ("first weeks" in raised)
    assert verdict["kinds"] == ["images changed"]
    assert verdict["probably_harmless"] is (verdict["confidence_change"] >= -0.002)
    fits("drift", json.dumps(verdict).encode())


def false_alarms(folder: Path, environments: int) -> tuple[int, int]:
    """Return the alarms of environments in which nothing changed, and how many of them both raise."""
    alarms = both = 0
    for seed in range(environments):
        home = folder / str(seed)
        home.mkdir()
        place = Place(home, seed)
        place.refer(500)
        place.score(range(14), count=100)
        place.score(range(21, 28), count=100)
        raised = place.check(27)["raised_by"]
        alarms += bool(raised)
        both += len(raised) == 2
    return alarms, both


def test_where_nothing_changed_both_together_are_quiet(tmp_path: Path) -> None:
    alarms, _ = false_alarms(tmp_path, 12)
    # At 5% or less, three or more of twelve have a probability of 2%
    assert alarms <= 2


@pytest.mark.long
def test_both_together_raise_a_false_alarm_in_at_most_five_percent(tmp_path: Path) -> None:
    environments = 400
    alarms, _ = false_alarms(tmp_path, environments)
    assert stats.binomtest(alarms, environments, 0.05, alternative="greater").pvalue > 0.05
    assert alarms / environments <= 0.05


def unlike(place: Place, days: Sequence[int], count: int, weekend: float, daily: float) -> None:
    """Score days whose weekends are lighter, and which differ from each other at random."""
    for day in days:
        at_weekend = (START + timedelta(days=day)).weekday() >= 5
        place.score([day], count, light=weekend * at_weekend + daily * place.random.normal())


def alarms_of_days(folder: Path, environments: int, count: int, weekend: float, daily: float) -> int:
    """Return in how many environments the usual difference of days is drift from the first weeks."""
    alarms = 0
    for seed in range(environments):
        home = folder / str(seed)
        home.mkdir()
        place = Place(home, seed)
        place.refer(500)
        unlike(place, [*range(14), *range(21, 28)], count, weekend, daily)
        alarms += first_weeks.NAME in place.check(27)["raised_by"]
    return alarms


DAYS = pytest.mark.parametrize(("weekend", "daily"), [(0.8, 0.0), (0.0, 0.3)], ids=["weekends", "each day"])


@DAYS
def test_days_that_always_differ_are_no_drift_from_the_first_weeks(
    tmp_path: Path, weekend: float, daily: float
) -> None:
    # At 2.5% or less, two or more of four have a probability of 0.4%
    assert alarms_of_days(tmp_path, 4, 150, weekend, daily) <= 1


@pytest.mark.long
@DAYS
def test_days_that_always_differ_raise_an_alarm_in_at_most_a_twentieth(
    tmp_path: Path, weekend: float, daily: float
) -> None:
    environments = 100
    alarms = alarms_of_days(tmp_path, environments, 150, weekend, daily)
    assert alarms / environments <= 0.05
