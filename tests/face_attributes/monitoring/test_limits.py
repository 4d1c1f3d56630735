"""Chance and other people, enumerated and simulated, stay within the limits."""

import numpy as np
import pytest
from scipy import stats

from face_attributes.monitoring import limits
from face_attributes.monitoring.column_tests import share_distance
from face_attributes.monitoring.drift import ALARM_AFTER, ALPHA, LATEST, Column
from face_attributes.monitoring.limits import Rule

RULE = Rule(ALPHA / 94, ALARM_AFTER, LATEST)  # of a model with CelebA's forty attributes


def of_people(random, people, each, share, columns=1):
    """Return normal columns (columns, people * each) of which `share` of the variance lies between people."""
    person = np.repeat(random.normal(size=(columns, people)), each, axis=1)
    return np.sqrt(share) * person + np.sqrt(1 - share) * random.normal(size=person.shape)


def numbered(people, each):
    return np.repeat(np.arange(people), each)


def test_of_different_people_chance_alone_sets_the_limit():
    values = np.random.default_rng(0).normal(size=500)
    assert limits.between(values, np.arange(500)) == 0.0
    two_sided = stats.norm.isf(0.0005) * np.sqrt(1 / 100 + 1 / 500)
    assert Rule(0.001, after=1, of=1).shift(100, 500, 0.0) == pytest.approx(two_sided, rel=0.01)
    assert Rule(0.001, after=1, of=1).shift(10**6, 10**6, 0.0) == limits.LEAST


def test_a_week_without_change_has_at_most_the_rate_of_alarms_that_the_rule_states():
    random, rule, weeks = np.random.default_rng(4), Rule(0.02, ALARM_AFTER, LATEST), 20_000
    for found, expected, people in ((100, 2000, 0.0), (300, 800, 0.001), (1000, 10**6, 0.01)):
        common = random.normal(scale=np.sqrt(1 / expected + people), size=(weeks, 1))
        means = common + random.normal(scale=np.sqrt(1 / found), size=(weeks, LATEST))
        over = np.abs(means) >= rule.shift(found, expected, people)
        assert (over.sum(axis=1) >= ALARM_AFTER).mean() <= 0.023
    # The last of these is all but the people's
    assert (over.sum(axis=1) >= ALARM_AFTER).mean() == pytest.approx(0.02, abs=0.004)
    assert stats.binom.sf(ALARM_AFTER - 1, LATEST, rule.level) == pytest.approx(0.02)


@pytest.mark.parametrize(("found", "expected"), [(100, 814), (300, 814), (1000, 814), (1000, 2000)])
def test_an_unlucky_reference_does_not_alarm_week_after_week(found, expected):
    random, weeks = np.random.default_rng(5), 20_000
    off = stats.norm.isf(limits.UNLUCKY * RULE.alpha / 2) / np.sqrt(expected)
    means = off + random.normal(scale=1 / np.sqrt(found), size=(weeks, LATEST))
    over = np.abs(means) >= RULE.shift(found, expected, 0.0)
    assert (over.sum(axis=1) >= ALARM_AFTER).mean() <= limits.WEEKLY + 0.005


def test_more_images_of_the_same_people_do_not_lower_the_limit_below_theirs():
    random = np.random.default_rng(1)
    few, many = (limits.between(of_people(random, 50, each, 0.8)[0], numbered(50, each)) for each in (4, 40))
    assert many == pytest.approx(few, rel=0.5)
    assert RULE.shift(10**6, 2000, many) > 0.8


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_variance_between_people_is_what_other_people_make_of_the_mean(share):
    random = np.random.default_rng(2)
    people, each, times = 100, 5, 400
    learnt, gaps = [], []
    for _ in range(times):
        one, other = of_people(random, people, each, share, columns=2)
        learnt.append(limits.between(one, numbered(people, each)) / limits.TOGETHER)
        gaps.append((one.mean() - other.mean()) / one.std())
    chance = 2 / (people * each)
    assert np.mean(learnt) + chance == pytest.approx(np.var(gaps), rel=0.2)


def test_days_that_differ_have_at_most_the_rate_of_alarms_that_the_rule_states():
    random, rule, weeks = np.random.default_rng(6), Rule(0.02, ALARM_AFTER, LATEST), 20_000
    found, window, windows = 150, 0.05, 14
    own = np.sqrt(1 / found + window)
    means = random.normal(scale=own / np.sqrt(windows), size=(weeks, 1))
    means = means + random.normal(scale=own, size=(weeks, LATEST))
    over = np.abs(means) >= rule.shift(found, found * windows, 0.0, window, windows)
    assert (over.sum(axis=1) >= ALARM_AFTER).mean() <= 0.023
    over = np.abs(means) >= rule.shift(found, found * windows, 0.0)
    assert (over.sum(axis=1) >= ALARM_AFTER).mean() > 0.5


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_the_variance_between_windows_is_that_of_their_means(share):
    random, windows = np.random.default_rng(7), numbered(14, 150)
    learnt = [limits.among(of_people(random, 14, 150, share)[0], windows) for _ in range(400)]
    assert np.mean(learnt) == pytest.approx(share, abs=0.004)
    few = of_people(random, limits.LEAST_WINDOWS - 1, 150, 0.5)[0]
    assert limits.among(few, numbered(limits.LEAST_WINDOWS - 1, 150)) == 0.0
    assert limits.among(few, None) == 0.0


def test_a_constant_column_and_a_single_person():
    assert limits.between(np.ones(100, bool), numbered(20, 5)) == 0.0
    assert limits.between(np.arange(100.0), np.zeros(100, int)) > 1
    assert limits.effective(np.array([1, 1, 2, 2, 3, 3])) == pytest.approx(3)


def weeks_with_an_alarm(people, known, weeks, shift=0.0):
    """Return the share of weeks with an alarm in which other people come, as many as in the reference."""
    alarms, some = 0, 12  # columns are drawn, and tested as strictly as if they were all
    for seed in range(weeks):
        random = np.random.default_rng([3, seed])
        expected, met = (of_people(random, people, 5, 0.7, columns=some) for _ in range(2))
        days = [random.choice(people * 5, 300, replace=False) for _ in range(LATEST)]
        for values, others in zip(expected, met, strict=True):
            column = Column.of(values, numbered(people, 5) if known else None, RULE)
            if sum(column.differs(others[day] + shift) for day in days) >= ALARM_AFTER:
                alarms += 1
                break
    return alarms / weeks


def test_other_people_are_no_drift(monkeypatch):
    assert weeks_with_an_alarm(people=80, known=True, weeks=20) <= 0.05
    # With limits for chance alone the same weeks have alarms
    monkeypatch.setattr(limits, "between", lambda *_: 0.0)
    assert weeks_with_an_alarm(people=80, known=True, weeks=20) > 0.3


def test_where_nobody_knows_the_people_some_hundreds_of_others_are_no_drift():
    assert weeks_with_an_alarm(people=500, known=False, weeks=4) == 0.0
    assert weeks_with_an_alarm(people=500, known=False, weeks=1, shift=0.6) == 1.0


def true_for(count, of):
    return np.arange(of) < count


def rate_of_alarms(share, found, expected, people=0.0):
    """Return, enumerated, how often a week has an alarm in one column where nothing changes.

    All of the reference's counts and all of a day's counts are weighed by how probable they are.
    """
    rate = 0.0
    expected_counts = range(int(stats.binom.isf(1e-10, expected, share)) + 1)
    counts = np.arange(int(stats.binom.isf(1e-12, found, share)) + 1)
    for known in expected_counts:
        column = Column(true_for(known, expected), people, RULE)
        limit = column.limit(found)
        far = [share_distance(count / found, known / expected) >= limit for count in counts.tolist()]
        differs = np.array(
            [
                one and column.differs(true_for(count, found))
                for one, count in zip(far, counts.tolist(), strict=True)
            ]
        )
        day = min(1.0, float(stats.binom.pmf(counts, found, share)[differs].sum()))
        week = stats.binom.sf(ALARM_AFTER - 1, LATEST, day)
        rate += float(stats.binom.pmf(known, expected, share) * week)
    return rate


@pytest.mark.parametrize("expected", [814, 2000])
@pytest.mark.parametrize("found", [100, 200, 300, 1000])
def test_a_rare_answer_is_no_drift(found, expected):
    rates = [rate_of_alarms(share, found, expected) for share in (0.0003, 0.0008, 0.002, 0.005, 0.012)]
    # The share of a column in one false alarm of twenty weeks; the z-test made it 0.02 a week
    assert max(rates) <= RULE.alpha


def test_one_rare_yes_on_each_of_two_days_is_no_drift():
    column = Column.of(np.zeros(2000, bool), np.arange(2000), RULE)
    assert not column.differs(true_for(1, 100))
    assert not column.differs(true_for(15, 1000))
    assert column.differs(true_for(30, 300))
