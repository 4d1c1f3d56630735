import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from benchmarks import drift as benchmark
from benchmarks import drift_plot, photographs
from benchmarks.weeks import Checker, Known, Rates, WeekResult, significant, week
from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES
from face_attributes.evaluation.reference import Population
from face_attributes.monitoring import drift, limits
from face_attributes.monitoring.score_files import ALL
from face_attributes.monitoring.windows import Window

DOCUMENT = Path(__file__).parents[2] / "benchmarks/results/drift.md"


def columns(count: int, seed: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "Smiling": random.random(count) < 0.4 + shift,
        "Bald": random.random(count) < 0.02,
        "Smiling_score": random.beta(0.3 + shift, 0.5, count).astype(np.float32),
        "brightness": random.normal(100 + 20 * shift, 10, count).astype(np.float32),
        "noise": random.normal(3, 1, count).astype(np.float32),
    }


@pytest.mark.parametrize("people", [None, np.arange(400), np.arange(400) // 40])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.2, 0.4])
def test_a_week_is_checked_as_monitoring_checks_it(shift: float, people: np.ndarray | None) -> None:
    expected = columns(400, 0)
    days = [columns(150, seed, shift) for seed in range(1, 4)]
    windows = [Window(ALL, 150, pa.table(day)) for day in days]
    table = pa.table(expected | ({} if people is None else {"person": people}))
    said = drift.compare(windows, Population("all", table), list(expected), drift.ALARM_AFTER, 1.0)
    together = said["joint"]["columns"] if said["joint"] else []
    checker = Checker(Known(expected, people))
    assert (list(checker.alone(days)), list(checker.together(days))) == (said["columns_drifted"], together)
    assert list(checker.ours(days)) == (said["columns_drifted"] or together)
    assert bool(checker.ours(days)) is said["drifted"]


@pytest.mark.parametrize(("rows", "size"), [(700, 400), (300, 1200)])
def test_evidently_left_to_itself_finds_the_same_columns(rows: int, size: int) -> None:
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    found, expected = columns(rows, 5, 0.12), columns(size, 6)
    names = {kind: [name for name in found if (found[name].dtype == bool) == kind] for kind in (True, False)}
    definition = DataDefinition(numerical_columns=names[False], categorical_columns=names[True])
    data = [
        Dataset.from_pandas(pd.DataFrame(table), data_definition=definition) for table in (found, expected)
    ]
    ran = Report([ValueDrift(column=name) for name in found], include_tests=True).run(*data).dict()
    # Its test fails where there is drift
    theirs = [name for name, test in zip(found, ran["tests"], strict=True) if test["status"] == "FAIL"]
    assert list(Checker(Known(expected, None)).evidently(found)) == theirs
    assert 0 < len(theirs) < len(found)


def test_a_p_value_is_over_or_under_alpha_as_scipy_says() -> None:
    random = np.random.default_rng(0)
    expected = np.sort(random.normal(size=130))
    agreed = []
    for shift in np.linspace(0, 1, 60):
        found = random.normal(shift, 1, 90)
        for alpha in (0.05, 0.0006):
            truth = bool(stats.ks_2samp(expected, found).pvalue <= alpha)
            assert significant(found, expected, alpha) == truth
            agreed.append(truth)
    assert {True, False} == set(agreed)


def test_no_image_of_a_week_is_there_twice_nor_in_its_reference() -> None:
    pool = {"id": np.arange(1000)}
    days, against = week(np.random.default_rng(1), pool, 100, 300)
    drawn = np.concatenate([*(day["id"] for day in days), against["id"]])
    assert (len(days), len(drawn), len(set(drawn))) == (7, 1000, 1000)
    few, _ = week(np.random.default_rng(1), pool, 600)
    assert [len(set(day["id"])) for day in few] == [600] * 7


def test_rates_count_weeks() -> None:
    said = [WeekResult(("a",), ("a", "b"), 4), WeekResult((), ("a",), 4), WeekResult((), (), 4)]
    assert Rates.of(said) == Rates(weeks=3, ours=1, evidently=2, evidently_half=1)


def test_what_the_docs_state_is_few_enough() -> None:
    text = DOCUMENT.read_text("utf-8")
    table = text[text.index("<!-- quiet -->") : text.index("<!-- /quiet -->")]
    rows = re.findall(r"\| (\d+) \| \*\*([\d.]+)%\*\* \| ([\d.]+)% \|", table)
    assert len(rows) == 2 * len(benchmark.A_DAY)
    for weeks, false, at_most in rows:
        assert int(weeks) >= 500
        assert float(false) <= float(at_most) <= 5


def test_the_rates_on_photographs_are_few_enough_and_those_that_the_docs_state() -> None:
    text = DOCUMENT.read_text("utf-8")
    table = text[text.index("<!-- photographs -->") : text.index("<!-- /photographs -->")]
    found = re.findall(r"^\| ([^|]*) \| ([^|]*) \| (\d+) \| \d+ \| \*\*([\d.]+)%\*\* \|", table, re.MULTILINE)
    rows = {(title, days, int(a_day)): float(rate) for title, days, a_day, rate in found}
    assert {a_day for _, _, a_day in rows} == set(photographs.A_DAY)
    page = " ".join((DOCUMENT.parents[2] / "docs/monitoring.md").read_text("utf-8").split())
    stated = re.search(r"at most ([\d.]+) % of weeks had an alarm", page)
    assert stated
    assert max(rows.values()) <= float(stated[1]) <= 5
    assert {rate for (title, _, _), rate in rows.items() if "of random people" in title} == {0}
    [calm] = re.findall(r"^\| as they are \| (\d+)% \| (\d+)% \| (\d+)% \|", text, re.MULTILINE)
    worst = max(map(int, calm)) * photographs.CHANGED_WEEKS // 100
    assert f"of a smaller sample, {worst} of {photographs.CHANGED_WEEKS}" in page


def test_the_simulated_rates_are_few_enough_and_those_that_the_docs_state() -> None:
    table = re.search("<!-- simulated -->(.*)<!-- /simulated -->", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert table
    rows = [line.split("|")[1:-1] for line in table[1].splitlines() if "**" in line]
    assert max(float(row[4].strip(" *%")) for row in rows) <= 5
    joint = {
        "few": max(float(row[6].strip(" %")) for row in rows if row[1].strip() == "500"),
        "alike": max(float(row[6].strip(" %")) for row in rows if row[2].endswith("alike ")),
    }
    page = " ".join((DOCUMENT.parents[2] / "docs/monitoring.md").read_text("utf-8").split())
    assert (
        f"with 500 rows, the joint test alone took up to {joint['few']:g} %, and up to {joint['alike']:g} %"
        in page
    )


def test_the_number_for_people_who_come_together_is_that_of_the_official_parts() -> None:
    text = DOCUMENT.read_text("utf-8")
    [ratio] = re.findall(
        r"^\| the parts validation and test \| \d+ \| \*\*([\d.]+)\*\* \|", text, re.MULTILINE
    )
    assert float(ratio) <= limits.TOGETHER


def test_a_change_of_light_blur_or_camera_of_photographs_was_always_seen() -> None:
    text = DOCUMENT.read_text("utf-8")
    for change in ("brightness x 0.9", "brightness x 0.7", "blur of 1 pixel", "another camera"):
        assert f"| {change} | 100% | 100% | 100% |" in text


def test_a_mix_has_as_many_points_more_as_it_says() -> None:
    ids = [f"{index}.jpg" for index in range(1000)]
    place = CELEBA_ATTRIBUTES.index("Male")
    truth = {
        name: np.arange(40) == place if index < 400 else np.zeros(40, bool) for index, name in enumerate(ids)
    }
    table = pa.table({"id": ids})
    more = photographs._mixed(table, truth, "Male", 0.1)
    assert len(set(more)) == len(more)
    assert (more < 400).mean() == pytest.approx(0.5, abs=0.001)
    assert set(photographs._mixed(table, truth, "-Male", None)) == set(range(400, 1000))


def test_the_plot_has_a_panel_for_each_knob_and_is_an_image() -> None:
    ways = ["one", "two", "three"]
    power = {knob: {level: dict.fromkeys(ways, 0.5) for level in "12"} for knob in ("light", "a & b")}
    drawn = ElementTree.fromstring(drift_plot.draw(power))  # noqa: S314  # our own
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"light", "a & b", *ways, "1", "2", "50%"} <= set(texts)
    assert list(ElementTree.parse(DOCUMENT.with_name("drift.svg")).getroot().iter())  # noqa: S314
