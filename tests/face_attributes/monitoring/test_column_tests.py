"""The figures are Evidently's own, but for the p-value of shares, which is exact."""

import math
import os
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from face_attributes.monitoring import column_tests
from face_attributes.monitoring.column_tests import NUMBERS, SHARES


@pytest.fixture(scope="module")
def evidently():
    """Return a function that gives Evidently's figures: p-value and distance of each column."""
    os.environ["DO_NOT_TRACK"] = "1"
    column_tests.register()
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    def ask(found, expected):
        tests = {name: column_tests.of(values) for name, values in expected.items()}
        kinds = {
            kind: [name for name, one in tests.items() if one is test]
            for kind, test in (("numerical_columns", NUMBERS), ("categorical_columns", SHARES))
        }
        data = [
            Dataset.from_pandas(pd.DataFrame(table), data_definition=DataDefinition(**kinds))
            for table in (found, expected)
        ]
        metrics = [
            ValueDrift(column=name, method=method, threshold=0.1)
            for name, test in tests.items()
            for method in (test.p_method, test.distance_method)
        ]
        values = [float(one["value"]) for one in Report(metrics).run(*data).dict()["metrics"]]
        return dict(zip(tests, zip(values[::2], values[1::2], strict=True), strict=True))

    return ask


@pytest.mark.parametrize(("met", "known"), [(100, 800), (700, 300)])
def test_they_equal_evidentlys(evidently, met, known):
    random = np.random.default_rng(met)

    def table(count, shift):
        return {
            "score": random.beta(0.3, 0.5 + shift, count).astype(np.float32),
            "brightness": (100 + 20 * shift + random.normal(0, 10, count)).astype(np.float32),
            "constant": np.ones(count, np.float32),
            "Smiling": random.random(count) < 0.4 + shift,
            "Bald": random.random(count) < 0.02 + shift,
            "never": np.zeros(count, bool),
        }

    found, expected = table(met, 0.1), table(known, 0.0)
    for name, figures in evidently(found, expected).items():
        assert column_tests.of(expected[name]).measure(found[name], expected[name]) == pytest.approx(figures)


def test_equal_values_do_not_differ():
    values = np.random.default_rng(0).normal(size=200)
    assert NUMBERS.measure(values, values) == (1.0, 0.0)
    assert SHARES.measure(values > 0, values > 0) == (1.0, 0.0)
    assert SHARES.measure(np.ones(100, bool), np.ones(200, bool)) == (1.0, 0.0)


def test_a_shift_is_as_far_as_it_is_in_standard_deviations():
    values = np.random.default_rng(0).normal(50, 8, 2000)
    assert NUMBERS.measure(values + 4, values)[1] == pytest.approx(0.5, rel=0.01)


def test_the_limit_of_a_shift_is_the_distance_that_it_makes():
    some = np.arange(100_000) < 40_000
    more = np.arange(100_000) < 40_000 + 0.1 * (0.4 * 0.6) ** 0.5 * 100_000
    assert SHARES.measure(more, some)[1] == pytest.approx(SHARES.limit(some, 0.1), rel=0.02)
    values = np.random.default_rng(0).normal(50, 8, 2000)
    assert NUMBERS.measure(values + 0.8, values)[1] == pytest.approx(NUMBERS.limit(values, 0.1), rel=0.01)


@pytest.mark.parametrize("expected", [0.0, 0.01, 0.3, 0.7, 1.0])
def test_less_than_two_points_never_matter(expected):
    known = np.arange(10_000) < 10_000 * expected
    limit = SHARES.limit(known, 0.0)
    towards = 1 if expected < 0.5 else -1
    for points, matters in ((1.9, False), (2.1, True)):
        found = np.arange(10_000) < 10_000 * (expected + towards * points / 100)
        assert (SHARES.measure(found, known)[1] >= limit) == matters


def _enumerated(yes, count, expected_yes, expected_count):
    """Return the chance of all splits of the `yes` that are at most as likely as this one."""
    both, whole = yes + expected_yes, count + expected_count

    def chance(some):
        return Fraction(
            math.comb(count, some) * math.comb(expected_count, both - some), math.comb(whole, both)
        )

    splits = range(max(0, both - expected_count), min(both, count) + 1)
    return float(sum(chance(some) for some in splits if chance(some) <= chance(yes)))


@pytest.mark.parametrize("case", [(1, 100, 0, 2000), (2, 100, 0, 814), (3, 100, 2, 400), (60, 100, 120, 300)])
def test_the_test_of_shares_is_exact(case):
    assert column_tests.exact(*case) == pytest.approx(_enumerated(*case), rel=1e-6)
