import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from face_attributes.evaluation import multiple_testing

ALPHA = 0.05
P_VALUES = arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1))


def rejected_step_by_step(p_values: np.ndarray) -> set[int]:
    """Holm's procedure as he tells it: the smallest first, until one is not small enough."""
    rejected: set[int] = set()
    for tried, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] * (len(p_values) - tried) > ALPHA:
            break
        rejected.add(int(index))
    return rejected


def test_a_known_example():
    # The example of R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert multiple_testing.adjust(np.array([0.04, 0.01, 0.05, 0.03, 0.02])) == pytest.approx(
        [0.09, 0.05, 0.09, 0.09, 0.08]
    )
    assert multiple_testing.adjust(np.array([])).shape == (0,)


@given(P_VALUES)
def test_what_is_rejected_is_what_holm_rejects(p_values):
    assert set(np.flatnonzero(multiple_testing.adjust(p_values) <= ALPHA)) == rejected_step_by_step(p_values)


@given(P_VALUES, st.randoms(use_true_random=False))
def test_adjusted_values_keep_their_order_and_lie_between_plain_and_bonferroni(p_values, chance):
    adjusted = multiple_testing.adjust(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(p_values * len(p_values), 1)).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()
    order = list(range(len(p_values)))
    chance.shuffle(order)
    assert np.array_equal(multiple_testing.adjust(p_values[order]), adjusted[order])


def test_one_false_alarm_among_many_is_as_rare_as_in_one_test():
    p_values = np.random.default_rng(0).random((4000, 40))
    alarms = np.mean([(multiple_testing.adjust(row) <= ALPHA).any() for row in p_values])
    assert 0.04 <= alarms <= 0.06
    assert (p_values <= ALPHA).any(axis=1).mean() > 0.8
