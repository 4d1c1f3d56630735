import numpy as np
import pytest
from scipy import stats

from face_attributes.evaluation import power
from gitops.gates import rows, significance


def test_the_gates_have_the_same_error_rates() -> None:
    assert (power.MEAN_ALPHA, power.ATTRIBUTE_ALPHA, power.POWER) == (
        rows.MEAN_ALPHA,
        rows.ATTRIBUTE_ALPHA,
        significance.POWER,
    )


def test_a_visible_loss_is_seen_in_four_of_five_comparisons() -> None:
    random = np.random.default_rng(1)
    images, trials = 2000, 2000
    right = random.random((images, 1)) < 0.9
    _, (visible,) = power.visible_losses(right)
    # Two models disagree in 4.8 % of the answers, and one of them is right in the lost ones
    share = 0.048
    lost = random.binomial(images, (share + visible) / 2, trials)
    gained = random.binomial(images, (share - visible) / 2, trials)
    p_values = stats.norm.cdf((gained - lost) / np.sqrt(lost + gained))
    assert (p_values <= power.ATTRIBUTE_ALPHA).mean() == pytest.approx(0.8, abs=0.05)


def test_more_images_show_smaller_losses() -> None:
    right = np.random.default_rng(1).random((800, 5)) < (0.7, 0.8, 0.9, 0.97, 1.0)
    few_mean, few = power.visible_losses(right)
    mean, each = power.visible_losses(np.tile(right, (4, 1)))
    assert mean == pytest.approx(few_mean / 2)
    assert each[:4] == pytest.approx(few[:4] / 2)
    assert list(few) == sorted(few, reverse=True)
