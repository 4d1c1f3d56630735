import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics as peer

from face_attributes.evaluation import slices, summarize
from face_attributes.evaluation.metrics import METRICS
from face_attributes.evaluation.predictions import Predictions

NAMES = ("Smiling", "Male", "Bald")


def model_of(names=NAMES):
    return SimpleNamespace(attributes=names, profile="full", sha256="ab" * 32)


def predictions_of(rows=200, seed=0, names=NAMES):
    random = np.random.default_rng(seed)
    truth = random.random((rows, len(names))) < 0.3
    probabilities = np.clip(truth * 0.4 + random.random(truth.shape) * 0.6, 0, 1).astype(np.float32)
    labels = dict(zip(names, truth.T, strict=True)) | {"Young": random.random(rows) < 0.7}
    return Predictions(
        [str(row) for row in range(rows)],
        probabilities,
        probabilities >= 0.5,
        truth,
        labels,
        random.uniform(40, 200, rows),
    )


@pytest.fixture
def options(tiny):
    return tiny.evaluate.model_copy(update={"bootstrap": 200})


@pytest.fixture
def found(options):
    return summarize.judge(model_of(), predictions_of(), options)


def test_figures_of_the_whole(found):
    predictions = predictions_of()
    right = predictions.decisions == predictions.truth
    share = predictions.truth.mean(axis=0)
    assert found["profile"] == "full"
    assert found["samples"] == 200
    assert found["model_sha256"] == "ab" * 32
    assert found["mean_accuracy"] == pytest.approx(right.mean(), abs=1e-4)
    assert found["majority_accuracy"] == pytest.approx(np.maximum(share, 1 - share).mean(), abs=1e-4)
    assert list(found["per_attribute"]) == list(NAMES)
    for metric in METRICS:
        rows = [row[metric] for row in found["per_attribute"].values()]
        assert found[f"mean_{metric}"] == pytest.approx(np.mean(rows), abs=2e-4)
    assert found["mean_accuracy_low"] < found["mean_accuracy"] < found["mean_accuracy_high"]


def test_figures_of_an_attribute(found):
    predictions = predictions_of()
    row = found["per_attribute"][NAMES[2]]
    truth, decided, said = (
        predictions.truth[:, 2],
        predictions.decisions[:, 2],
        predictions.probabilities[:, 2],
    )
    expected = {
        "accuracy": peer.accuracy_score(truth, decided),
        "majority_accuracy": max(truth.mean(), 1 - truth.mean()),
        "balanced_accuracy": peer.balanced_accuracy_score(truth, decided),
        "f1": peer.f1_score(truth, decided),
        "average_precision": peer.average_precision_score(truth, said),
        "roc_auc": peer.roc_auc_score(truth, said),
        "positives": truth.mean(),
        "recall": peer.recall_score(truth, decided, pos_label=truth.mean() <= 0.5),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, abs=1e-4)
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]


def test_what_is_undefined_is_null_and_in_no_mean(options):
    predictions = predictions_of()
    predictions.truth[:, 0], predictions.truth[:, 1] = False, True
    found = summarize.judge(model_of(), predictions, options)
    nobody, everybody, some = found["per_attribute"].values()
    for metric in ("roc_auc", "average_precision", "f1", "balanced_accuracy"):
        assert nobody[metric] is None
    assert everybody["roc_auc"] is everybody["balanced_accuracy"] is None
    assert nobody["majority_accuracy"] == everybody["majority_accuracy"] == 1
    assert found["mean_roc_auc"] == some["roc_auc"]
    json.dumps(found, allow_nan=False)


def test_one_image_has_figures(options):
    found = summarize.judge(model_of(), predictions_of(rows=1), options)
    assert found["samples"] == 1
    assert found["worst_slice"] is None
    json.dumps(found, allow_nan=False)


def test_figures_of_slices(found):
    predictions = predictions_of()
    right = predictions.decisions == predictions.truth
    assert list(found["slices"]) == [
        part.name for part in slices.split(predictions.labels, predictions.brightness)
    ]
    assert sum(found["slices"][name]["count"] for name in ("dark", "medium", "bright")) == 200
    inside = predictions.labels["Male"] & ~predictions.labels["Young"]
    row = found["slices"]["Male and not Young"]
    assert row["by"] == "Male and Young"
    assert row["count"] == inside.sum()
    assert row["accuracy"] == pytest.approx(right[inside].mean(), abs=1e-4)
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    # Male itself is true of every image here, so it has no balanced accuracy
    balanced = [
        peer.balanced_accuracy_score(predictions.truth[inside, column], predictions.decisions[inside, column])
        for column in (0, 2)
    ]
    assert row["balanced_accuracy"] == pytest.approx(np.mean(balanced), abs=1e-4)


def test_the_worst_slice_has_enough_images(options):
    predictions = predictions_of()
    dark = np.argsort(predictions.brightness)[:60]
    predictions.decisions[dark] = ~predictions.truth[dark]
    predictions.labels["Young"][:] = True
    predictions.labels["Young"][dark[: slices.MINIMUM - 1]] = False
    found = summarize.judge(model_of(), predictions, options)
    assert found["slices"]["not Young"]["accuracy"] == 0
    assert found["worst_slice"] == {"name": "dark", **found["slices"]["dark"]}
    assert found["worst_slice_of_at_least"] == slices.MINIMUM
    low, high = found["brightness_terciles"]
    assert (predictions.brightness <= low).sum() == found["slices"]["dark"]["count"]
    assert (predictions.brightness > high).sum() == found["slices"]["bright"]["count"]


def test_a_model_of_other_attributes_has_slices_by_light_alone(options):
    predictions = predictions_of(names=("Smiling",))
    predictions.labels.pop("Young")
    found = summarize.judge(model_of(("Smiling",)), predictions, options)
    assert set(found["slices"]) == {"dark", "medium", "bright"}


def test_equal_answers_get_equal_figures(options, found):
    assert json.dumps(summarize.judge(model_of(), predictions_of(), options)) == json.dumps(found)


def test_the_interval_covers_nineteen_times_in_twenty(options):
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(150):
        right = random.random((150, 1)) < 0.8
        predictions = Predictions(
            ["x"] * 150, right.astype(np.float32), right, np.ones((150, 1), bool), {}, np.zeros(150)
        )
        row = summarize.judge(model_of(("Smiling",)), predictions, options)["per_attribute"]["Smiling"]
        covered += row["accuracy_low"] <= 0.8 <= row["accuracy_high"]
    assert 0.87 <= covered / 150 <= 0.99
