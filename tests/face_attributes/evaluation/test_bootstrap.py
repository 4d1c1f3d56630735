import numpy as np
import pytest

from face_attributes.evaluation import bootstrap


def test_each_resampling_draws_as_many_images_as_there_are():
    drawn = np.concatenate(list(bootstrap.weights(300, 50, seed=1)))
    assert drawn.shape == (50, 300)
    assert (drawn.sum(axis=1) == 300).all()
    assert len(np.unique(drawn, axis=0)) == 50


def test_images_are_drawn_as_chance_would():
    drawn = np.concatenate(list(bootstrap.weights(200, 2000, seed=1)))
    # Of n images a resampling has none of (1 - 1/n)^n, and each image once on average with variance 1 - 1/n
    assert (drawn == 0).mean() == pytest.approx((1 - 1 / 200) ** 200, abs=0.003)
    assert drawn.mean(axis=0) == pytest.approx(np.ones(200), abs=5 / np.sqrt(2000))
    assert drawn.var() == pytest.approx(1 - 1 / 200, abs=0.02)


def test_equal_seeds_give_equal_resamplings():
    one, same, other = (np.concatenate(list(bootstrap.weights(100, 10, seed=seed))) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_many_images_come_a_few_resamplings_at_a_time():
    sizes = [len(some) for some in bootstrap.weights(400_000, 5, seed=1)]
    assert sizes == [2, 2, 1]


def test_an_interval_holds_the_middle_of_the_values():
    assert bootstrap.interval(np.arange(1001.0)) == (25, 975)


def test_values_that_are_undefined_are_left_out():
    values = np.concatenate([np.arange(1001.0), np.full(500, np.nan)])
    assert bootstrap.interval(values) == (25, 975)
    assert np.isnan(bootstrap.interval(np.full(10, np.nan))).all()


def test_an_interval_covers_nineteen_times_in_twenty():
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        values = random.exponential(size=150)
        means = np.concatenate([some @ values / 150 for some in bootstrap.weights(150, 200, seed)])
        low, high = bootstrap.interval(means)
        covered += low <= 1 <= high
    assert 0.89 <= covered / 300 <= 0.98
