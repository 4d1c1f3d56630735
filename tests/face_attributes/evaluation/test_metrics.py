import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from face_attributes.evaluation.metrics import BINS, METRICS, mean_of_defined, per_attribute, reliability


@st.composite
def judged(draw):
    """Return answers about few images, many of them tied."""
    shape = draw(st.integers(1, 30)), draw(st.integers(1, 3))
    steps = draw(st.sampled_from([1, 2, 5, 15, 1000]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probabilities = (random.integers(0, steps + 1, shape) / steps).astype(np.float32)
    truth = random.random(shape) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    return probabilities, probabilities >= draw(st.sampled_from([0.2, 0.5, 0.8])), truth


def by_definition(probabilities, decisions, truth):
    """Return the metrics of one attribute by scikit-learn, and by hand; NaN where a metric is undefined."""
    positive, both = truth.any(), truth.any() and not truth.all()
    return {
        "accuracy": peer.accuracy_score(truth, decisions),
        "balanced_accuracy": peer.balanced_accuracy_score(truth, decisions) if both else np.nan,
        "f1": peer.f1_score(truth, decisions, zero_division=0) if positive else np.nan,
        "average_precision": peer.average_precision_score(truth, probabilities) if positive else np.nan,
        "roc_auc": peer.roc_auc_score(truth, probabilities) if both else np.nan,
        "calibration_error": calibration_error(probabilities, truth),
    }


def calibration_error(probabilities, truth):
    """Sum the gaps bin by bin, as equation 3 of Guo et al. is written."""
    probabilities, error = probabilities.astype(float), 0.0
    for index in range(BINS):
        inside = (probabilities > index / BINS) & (probabilities <= (index + 1) / BINS)
        if index == 0:
            inside |= probabilities == 0
        if inside.any():
            error += inside.mean() * abs(truth[inside].mean() - probabilities[inside].mean())
    return error


@settings(max_examples=200, deadline=None)
@given(judged())
def test_metrics_are_those_of_their_definitions_with_ties_and_without_positives(case):
    found = per_attribute(*case)
    assert tuple(found) == METRICS
    for column, answers in enumerate(zip(*(array.T for array in case), strict=True)):
        for metric, value in by_definition(*answers).items():
            assert found[metric][column] == pytest.approx(value, abs=1e-9, nan_ok=True), metric


def test_a_probability_on_the_edge_belongs_to_the_bin_below():
    said = np.array([0.2, 0.2, 0.2000001])
    assert [count for _, _, count in reliability(said, np.array([True, False, True]))] == [2, 1]


def test_reliability_compares_what_was_said_with_what_was_so():
    said = np.array([[0.0, 0.01], [0.5, 0.52], [1.0, 0.99]])
    true = np.array([[False, False], [True, False], [True, True]])
    assert reliability(said, true) == [
        (pytest.approx(0.005), 0, 2),
        (pytest.approx(0.51), 0.5, 2),
        (pytest.approx(0.995), 1, 2),
    ]


def test_a_mean_leaves_out_what_is_undefined():
    values = np.array([[1.0, np.nan, 3.0], [np.nan] * 3])
    means = mean_of_defined(values)
    assert means[0] == 2
    assert np.isnan(means[1])
