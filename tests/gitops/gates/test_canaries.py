"""When a canary has to end: simulated labelled images, by the real comparison and decision."""

from typing import Any

import numpy as np
import pytest

from face_attributes.evaluation import compare
from face_attributes.evaluation.predictions import Predictions
from gitops.gates import canaries
from gitops.gates.shadows import Shadowed
from gitops.release import settings
from gitops.release.settings import Settings
from gitops.training import shadowing
from tests.support.checkout import ROOT
from tests.support.figures import ATTRIBUTES

NUMBERS = (100, 200, 400, 800, 1600, 3200, 6400)
COMMITS = ("a" * 40, "b" * 40)
MODELS = ("c" * 64, "d" * 64)


@pytest.fixture(scope="module")
def limits() -> Settings:
    return settings.load("prod", ROOT)


def simulated(images: int, seed: int, *, lost: float, gained: float) -> dict[str, Any]:
    """Compare a model with another one, which is right 92 times of 100, on simulated labelled images.

    In the first attribute the model loses and gains these shares of the images, and in each other one as many
    as it gains, one of 200.
    """
    dice = np.random.default_rng(seed)
    shape = (images, len(ATTRIBUTES))
    truth = dice.random(shape) < 0.3
    right = dice.random(shape) < 0.92
    losses, gains = (np.full(len(ATTRIBUTES), 0.005) for _ in range(2))
    losses[0], gains[0] = lost, gained
    chance = dice.random(shape)
    ours = np.where(right, chance >= losses / 0.92, chance < gains / 0.08)
    names = [f"{number}.jpg" for number in range(images)]
    labels = dict(zip(ATTRIBUTES, truth.T, strict=True))

    def answers(correct: np.ndarray) -> Predictions:
        decisions = truth == correct
        return Predictions(names, decisions.astype(float), decisions, truth, labels, np.full(images, 128.0))

    return compare.judge(ATTRIBUTES, answers(ours), answers(right))


def reported(comparison: dict[str, Any] | None, *, failed: int = 0, ratio: float = 1.0) -> Shadowed:
    """Return the report of prod on a canary at 10%."""
    share = {"agreement": 0.98, "yes": 0.3, "incumbent_yes": 0.3, "distance": 0.02}
    times = {"p50_ms": 2.0 * ratio, "incumbent_p50_ms": 2.0, "ratio": ratio, "ratio_low": 0.97 * ratio}
    figures = {
        "format": 1,
        "images": 20_000,
        "batches": 40,
        "answered": 2000,
        "agreement": 0.98,
        "per_attribute": dict.fromkeys(ATTRIBUTES, share),
        "only_incumbent": [],
        "latency": {"batch_1": times},
        "labelled": comparison["samples"] if comparison else 0,
        "comparison": comparison,
    }
    reason = "it crashed" if failed else ""
    return shadowing.report("prod", COMMITS, MODELS, failed, reason, figures, 10)


@pytest.fixture(scope="module")
def strict(limits: Settings) -> Settings:
    """Limits that permit an attribute to lose one point."""
    return limits.model_copy(update={"max_attribute_loss": 0.01})


def test_a_canary_that_is_two_points_worse_in_one_attribute_ends(limits: Settings, strict: Settings) -> None:
    worse = reported(simulated(3200, 7, lost=0.03, gained=0.01))
    assert f"no attribute worse: {ATTRIBUTES[0]} -0.0" in canaries.worse(worse, strict)
    # The others vary by chance alone, and so may this one where its owners permit the loss
    permitted = strict.model_copy(update={"max_attribute_loss": 0.1})
    assert canaries.worse(worse, permitted) == ""


def test_a_canary_that_is_as_good_goes_on(strict: Settings) -> None:
    assert canaries.worse(reported(simulated(1600, 7, lost=0.01, gained=0.01)), strict) == ""


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_the_life_of_two_canaries(strict: Settings, seed: int) -> None:
    def ends(lost: float) -> list[int]:
        made = {images: reported(simulated(images, seed, lost=lost, gained=0.01)) for images in NUMBERS}
        return [images for images, report in made.items() if canaries.worse(report, strict)]

    assert ends(0.03)
    assert ends(0.01) == []


def test_a_failure_or_a_slow_model_ends_a_canary_without_a_label(limits: Settings) -> None:
    assert canaries.worse(reported(None), limits) == ""
    failed = canaries.worse(reported(None, failed=1), limits)
    assert failed == "batches that the canary cannot score: 1: it crashed (none)"
    slow = canaries.worse(reported(None, ratio=10.0), limits)
    assert slow == "latency: 10.00 at batch 1, 20 ms for an image (at most 2 times, 20 ms)"


def test_evidence_counts_at_its_own_share(limits: Settings) -> None:
    report = reported(None)
    assert canaries.lacking(report, 10, limits) == ""
    assert canaries.lacking(report, 25, limits) == "it has answered 0 of 1000 images at 25%"
    assert canaries.lacking(None, 10, limits) == "it has answered 0 of 1000 images at 10%"
