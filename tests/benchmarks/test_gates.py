"""The gates over simulated releases and years: seconds here, minutes in `python -m benchmarks.gates`."""

import numpy as np
import pytest

from benchmarks.gates import ATTRIBUTES, ROUNDING, SMILING, Release, World, refusals, steps, year
from gitops.gates.rows import MEAN_ALPHA, REGRESSION, Side, compared
from gitops.release.settings import load

SETTINGS = load("dev")


def test_an_equal_model_is_rarely_refused() -> None:
    # At a rate of 5 %, more than 11 of 100 are refused in 1 of 200 trials
    assert refusals(World(814, 1), 100, SETTINGS) <= 11


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("images", [400, 814, 2000, 3500])
def test_at_most_a_twentieth_of_1000_equal_models_is_refused(images: int) -> None:
    assert refusals(World(images, 1), 1000, SETTINGS) <= 50


def test_a_loss_that_is_surely_small_is_accepted_on_many_images() -> None:
    loss = np.full(ATTRIBUTES, 0.001)
    world = World(20_000, 1)
    incumbent, candidates = world.train(np.zeros(ATTRIBUTES)), [world.train(loss) for _ in range(3)]
    for candidate in candidates:
        side = Side(REGRESSION, "the incumbent", world.compare(candidate, incumbent))
        assert side.comparison.mean_accuracy.p_worse < MEAN_ALPHA
        assert all(row.ok for row in compared([side], SETTINGS))


@pytest.mark.parametrize(
    ("step", "mean", "worst"), [("0.1 points in all", 0.004, 0.004), ("1 point in Smiling", 0.002, 0.03)]
)
def test_small_losses_do_not_add_up(step: str, mean: float, worst: float) -> None:
    _, loss, _ = year(World(2000, 1), steps()[step], SETTINGS)
    assert loss.mean() <= mean
    assert loss.max() <= worst


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("step", [step for step in steps() if step != "nothing"])
def test_no_year_loses_more_than_the_limits_on_as_many_images_as_the_default_has(step: str) -> None:
    for seed in range(10):
        _, loss, _ = year(World(3500, seed), steps()[step], SETTINGS)
        assert loss.mean() <= SETTINGS.max_mean_loss + ROUNDING
        assert loss.max() <= SETTINGS.max_attribute_loss + ROUNDING


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("step", [step for step in steps() if step != "nothing"])
def test_a_year_loses_at_most_the_limits_on_average(step: str) -> None:
    losses = [year(World(2000, seed), steps()[step], SETTINGS)[1] for seed in range(10)]
    assert np.mean([loss.mean() for loss in losses]) <= SETTINGS.max_mean_loss
    assert np.mean([loss.max() for loss in losses]) <= SETTINGS.max_attribute_loss + 0.002
    assert max(loss[SMILING] for loss in losses) <= SETTINGS.max_attribute_loss


@pytest.mark.parametrize("images", [814, 2000])
def test_the_row_of_the_smallest_losses_is_right(images: int) -> None:
    world = World(images, 1)
    incumbent = world.train(np.zeros(ATTRIBUTES))
    side = Side(REGRESSION, "the incumbent", world.compare(world.train(np.zeros(ATTRIBUTES)), incumbent))
    (row,) = [row for row in compared([side], SETTINGS) if row.gate == "smallest loss seen"]
    seen = float(row.value.split()[1].rstrip(","))
    pairs = [(world.train(np.full(ATTRIBUTES, seen)), world.train(np.zeros(ATTRIBUTES))) for _ in range(40)]
    sides = [Side(REGRESSION, "the incumbent", world.compare(*pair)) for pair in pairs]
    # 80 % are refused; of 40 fewer than 24, or all, in 1 of 500 trials
    assert 24 <= sum(not compared([side], SETTINGS)[0].ok for side in sides) < 40


@pytest.mark.parametrize("count", [1, 5, 20, ATTRIBUTES])
def test_attributes_replaced_by_a_constant_are_refused(count: int) -> None:
    world = World(4640, 1)
    incumbent, candidate = (world.train(np.zeros(ATTRIBUTES)) for _ in range(2))
    decisions = candidate.decisions.copy()
    decisions[:, :count] = False
    side = Side(REGRESSION, "the incumbent", world.compare(Release(decisions, candidate.loss, 0), incumbent))
    failed = [row.gate for row in compared([side], SETTINGS) if not row.ok]
    assert "no attribute dead" in failed
    alike = Side(REGRESSION, "the incumbent", world.compare(candidate, incumbent))
    assert all(row.ok for row in compared([alike], SETTINGS) if row.gate == "no attribute dead")


def test_any_attribute_replaced_by_a_constant_is_refused() -> None:
    world = World(2000, 1)
    incumbent, candidate = (world.train(np.zeros(ATTRIBUTES)) for _ in range(2))
    for attribute in range(ATTRIBUTES):
        decisions = candidate.decisions.copy()
        decisions[:, attribute] = False
        dead = world.compare(Release(decisions, candidate.loss, 0), incumbent)
        side = Side(REGRESSION, "the incumbent", dead)
        assert not all(row.ok for row in compared([side], SETTINGS)), attribute
