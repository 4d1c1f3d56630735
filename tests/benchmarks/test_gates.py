"""The gates over simulated years: seconds here, minutes in `python -m benchmarks.gates`."""

import numpy as np
import pytest

from benchmarks.gates import ATTRIBUTES, SMILING, WEEKS, Release, World, steps, year
from gitops.gates.gates import REGRESSION, Side, compared
from gitops.release.settings import load

SETTINGS = load("dev")


def test_an_equal_model_is_rarely_refused() -> None:
    accepted = [year(World(814, seed), steps()["nothing"], SETTINGS)[0] for seed in range(2)]
    # 104 candidates; at the rate of 5 % more than 11 are refused in 1 of 100 trials
    assert 2 * WEEKS - sum(accepted) <= 11


@pytest.mark.parametrize(
    ("step", "mean", "smiling"), [("0.1 points in all", 0.012, 0.012), ("1 point in Smiling", 0.002, 0.06)]
)
def test_small_losses_do_not_add_up(step: str, mean: float, smiling: float) -> None:
    _, loss, _ = year(World(814, 1), steps()[step], SETTINGS)
    assert loss.mean() <= mean
    assert loss[SMILING] <= smiling


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
