import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from face_attributes.evaluation.metrics import BINS, METRICS, Answered, mean_of_defined, reliability


@st.composite
def judged(draw):
    """Return answers about few images, many of them tied, and weightings of the images."""
    images, attributes, rows = draw(st.integers(1, 30)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    steps = draw(st.sampled_from([1, 2, 5, 15, 1000]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (images, attributes)
    probabilities = (random.integers(0, steps + 1, shape) / steps).astype(np.float32)
    truth = random.random(shape) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    decisions = probabilities >= draw(st.sampled_from([0.2, 0.5, 0.8]))
    weights = random.integers(0, 4, (rows, images)).astype(np.uint8)
    weights[0] = 1
    return probabilities, decisions, truth, weights


def by_scikit_learn(probabilities, decisions, truth, weight):
    """Return what scikit-learn says about one attribute; None where it is not defined."""
    positive, negative = weight[truth].sum() > 0, weight[~truth].sum() > 0
    if not weight.sum():
        return dict.fromkeys(METRICS)
    both = positive and negative
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has images, all with a weight of zero
        return {
            "accuracy": peer.accuracy_score(truth, decisions, sample_weight=weight),
            "balanced_accuracy": (
                peer.balanced_accuracy_score(truth, decisions, sample_weight=weight) if both else None
            ),
            "f1": (
                peer.f1_score(truth, decisions, sample_weight=weight, zero_division=0) if positive else None
            ),
            "average_precision": (
                peer.average_precision_score(truth, probabilities, sample_weight=weight) if positive else None
            ),
            "roc_auc": peer.roc_auc_score(truth, probabilities, sample_weight=weight) if both else None,
            "calibration_error": calibration_error(probabilities, truth, weight),
        }


def calibration_error(probabilities, truth, weight):
    """Sum the gaps bin by bin, as equation 3 of Guo et al. is written."""
    probabilities, error = probabilities.astype(float), 0.0
    for index in range(BINS):
        low, high = index / BINS, (index + 1) / BINS
        inside = (probabilities > low) & (probabilities <= high)
        if index == 0:
            inside |= probabilities == 0
        count = weight[inside].sum()
        if count:
            confidence = (weight[inside] * probabilities[inside]).sum() / count
            accuracy = (weight[inside] * truth[inside]).sum() / count
            error += count / weight.sum() * abs(accuracy - confidence)
    return error


@settings(max_examples=200, deadline=None)
@given(judged())
def test_figures_are_those_of_scikit_learn_whatever_is_tied_and_weighted(case):
    probabilities, decisions, truth, weights = case
    found = Answered(probabilities, decisions, truth).under(weights)
    assert tuple(found) == METRICS
    for row, weight in enumerate(weights):
        for column in range(truth.shape[1]):
            expected = by_scikit_learn(
                probabilities[:, column], decisions[:, column], truth[:, column], weight
            )
            for metric, value in expected.items():
                here = found[metric][row, column]
                if value is None:
                    assert np.isnan(here), metric
                else:
                    assert here == pytest.approx(value, abs=1e-6), metric


def test_many_images():
    random = np.random.default_rng(0)
    truth = random.random((5000, 2)) < (0.3, 0.02)
    probabilities = np.clip(truth * 0.3 + random.random(truth.shape) * 0.7, 0, 1).astype(np.float32)
    weights = random.integers(0, 5, (2, 5000)).astype(np.uint8)
    found = Answered(probabilities, probabilities >= 0.5, truth).under(weights)
    for row, column in np.ndindex(2, 2):
        said, true = probabilities[:, column], truth[:, column]
        for metric, value in by_scikit_learn(said, said >= 0.5, true, weights[row]).items():
            assert found[metric][row, column] == pytest.approx(value, abs=1e-6), metric


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
