import numpy as np
import pytest
from scipy.stats import binomtest

from face_attributes.evaluation import groups
from face_attributes.evaluation.predictions import Predictions

NAMES = ("Male", "Young", "Smiling", "Bald", "Bangs")


class Stub:
    """The two facts about a model that the metrics of groups name."""

    attributes, sha256 = NAMES, "a" * 64


@pytest.fixture(scope="module")
def found():
    random = np.random.default_rng(1)
    truth = random.random((1000, len(NAMES))) < (0.4, 0.7, 0.5, 0.1, 0.2)
    decided = truth.copy()
    # Half of the smiles of men are missed
    decided[:, 2] &= ~(truth[:, 0] & (random.random(1000) < 0.5))
    # 20 people are bald with bangs
    decided[:20, 3:] = True
    labels = dict(zip(NAMES, truth.T, strict=True))
    predictions = Predictions(
        [str(row) for row in range(1000)], decided * 0.98 + 0.01, decided, truth, labels, np.arange(1000.0)
    )
    return truth, decided, groups.measure(Stub(), predictions)


def test_rates_are_those_of_the_group_with_intervals(found):
    truth, decided, content = found
    men = truth[:, 0]
    row = content["per_attribute"]["Smiling"]["Male"]
    there = truth[men, 2]
    assert (row["positives"], row["negatives"]) == (there.sum(), (~there).sum())
    assert row["tpr"] == pytest.approx(decided[men, 2][there].mean(), abs=1e-4)
    exact = binomtest(int(decided[men, 2][there].sum()), int(there.sum())).proportion_ci(method="wilson")
    assert (row["tpr_low"], row["tpr_high"]) == pytest.approx((exact.low, exact.high), abs=1e-4)
    assert (row["fpr"], row["precision"]) == (0, 1)
    # Answers are given with 99 or 1 percent
    missed = 1 - decided[men, 2][there].mean()
    assert row["calibration_error"] == pytest.approx(missed * there.mean(), abs=0.02)
    assert content["per_attribute"]["Bald"]["all images"]["fpr"] > 0


def test_the_planted_gap_is_the_largest(found):
    _, _, content = found
    worst = content["gaps"][0]
    assert worst["attribute"] == "Smiling"
    assert worst["group"] in ("Male", "Male and Young", "Male and not Young")
    assert worst["low"] < worst["gap"] < worst["high"]
    assert worst["low"] > 0.2
    other = next(
        row for row in content["gaps"] if row["attribute"] == "Smiling" and row["group"] == "not Male"
    )
    men = next(row for row in content["gaps"] if row["attribute"] == "Smiling" and row["group"] == "Male")
    assert other["gap"] == pytest.approx(-men["gap"], abs=1e-4)


def test_the_labels_of_a_group_are_no_attribute_of_it(found):
    rows = found[2]["per_attribute"]
    assert "Male" not in rows["Male"]
    assert "Male and Young" not in rows["Young"]
    assert "Male" in rows["Young"]


def test_contradictions_are_counted(found):
    truth, decided, content = found
    both = decided[:, 3] & decided[:, 4]
    assert content["contradictions"]["pairs"] == {"Bald and Bangs": both.sum()}
    assert content["contradictions"]["rate"] == pytest.approx(both.mean(), abs=1e-4)
    assert content["contradictions"]["labels"] == pytest.approx((truth[:, 3] & truth[:, 4]).mean(), abs=1e-4)


def test_groups_without_an_image_have_no_rates():
    truth = np.ones((40, 1), bool)
    predictions = Predictions(["x"] * 40, truth * 0.9, truth, truth, {"Male": truth[:, 0]}, np.arange(40.0))
    model = Stub()
    model.attributes = ("Smiling",)
    row = groups.measure(model, predictions)["per_attribute"]["Smiling"]["not Male"]
    assert (row["positives"], row["tpr"], row["fpr"], row["precision"]) == (0, None, None, None)
    assert row["calibration_error"] is None
