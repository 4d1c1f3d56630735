import csv
import dataclasses
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from face_attributes.common.errors import DataError
from face_attributes.evaluation import groups, plots, summarize
from face_attributes.evaluation.predictions import Predictions, predict
from face_attributes.model.onnx_model import Model

NAMES = ("Smiling", "Male", "Bald")
FAKE = SimpleNamespace(attributes=NAMES, profile="full", sha256="ab" * 32)


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def predictions():
    random = np.random.default_rng(0)
    truth = random.random((400, 3)) < (0.5, 0.3, 0.1)
    probabilities = np.clip(truth * (0.2, 0.4, 0.1) + random.random(truth.shape) * 0.6, 0, 1)
    labels = {"Male": truth[:, 1]}
    light = random.uniform(40, 200, 400)
    return Predictions(list(map(str, range(400))), probabilities, probabilities >= 0.5, truth, labels, light)


@pytest.fixture(scope="module")
def found(predictions, tiny):
    return summarize.judge(FAKE, predictions, tiny.evaluate)


def test_accuracies_come_with_interval_and_majority_the_worst_first(found, tmp_path):
    plots.accuracies(found["per_attribute"], tmp_path / "a.csv")
    rows = table(tmp_path / "a.csv")
    assert {row["attribute"] for row in rows} == set(NAMES)
    accuracies = [float(row["accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies)
    for row in rows:
        figure = found["per_attribute"][row["attribute"]]
        assert float(row["low"]) == figure["accuracy_low"]
        assert float(row["high"]) == figure["accuracy_high"]
        assert float(row["majority"]) == figure["majority_accuracy"]


def test_slices_come_after_all_images(found, tmp_path):
    plots.slices(found, tmp_path / "s.csv")
    everything, *rows = table(tmp_path / "s.csv")
    assert everything["slice"] == "all images"
    assert float(everything["accuracy"]) == found["mean_accuracy"]
    assert int(everything["count"]) == 400
    assert [row["slice"] for row in rows] == list(found["slices"])
    assert [int(row["count"]) for row in rows] == [row["count"] for row in found["slices"].values()]


def test_an_empty_slice_is_not_drawn(found, tmp_path):
    empty = found["slices"]["dark"] | {"count": 0, "accuracy": None}
    plots.slices(found | {"slices": {"dark": empty}}, tmp_path / "s.csv")
    assert [row["slice"] for row in table(tmp_path / "s.csv")] == ["all images"]


def test_a_roc_curve_keeps_its_shape_in_few_points(predictions, found, tmp_path):
    plots.roc(found["per_attribute"], predictions, tmp_path / "r.csv")
    rows = table(tmp_path / "r.csv")
    assert [float(row["area"]) for row in rows] == sorted(float(row["area"]) for row in rows)
    for index, name in enumerate(NAMES):
        points = [
            (float(row["false_positive_rate"]), float(row["true_positive_rate"]))
            for row in rows
            if row["attribute"] == name
        ]
        assert 10 < len(points) <= 40
        assert points[0] == (0, 0)
        assert points[-1] == (1, 1)
        assert points == sorted(points)
        x, y = zip(*points, strict=True)
        area = roc_auc_score(predictions.truth[:, index], predictions.probabilities[:, index])
        assert np.trapezoid(y, x) == pytest.approx(area, abs=0.01)


def test_an_attribute_without_a_curve_is_left_out(predictions, found, tmp_path):
    rows = found["per_attribute"] | {"Male": {"roc_auc": None}}
    plots.roc(rows, predictions, tmp_path / "r.csv")
    assert {row["attribute"] for row in table(tmp_path / "r.csv")} == {"Smiling", "Bald"}


def test_calibration_counts_every_answer(predictions, tmp_path):
    plots.calibration(predictions, tmp_path / "c.csv")
    rows = table(tmp_path / "c.csv")
    assert sum(int(row["count"]) for row in rows) == predictions.truth.size
    said = [float(row["predicted"]) for row in rows]
    assert said == sorted(said)
    positives = sum(int(row["count"]) * float(row["observed"]) for row in rows)
    assert positives == pytest.approx(predictions.truth.sum(), abs=0.1)


def test_the_worst_errors_come_first(made, tmp_path, monkeypatch):
    model = Model(made.model)
    predictions = predict(model, made.holdout)
    shown = {}
    monkeypatch.setattr(
        plots.contact_sheet, "sheet", lambda images, ids, labels, path: shown.update(ids=ids, labels=labels)
    )
    plots.worst_errors(model, predictions, made.holdout, 3, tmp_path / "worst.jpg")
    margin = np.abs(predictions.probabilities - model.thresholds) * (
        predictions.decisions != predictions.truth
    )
    row, column = np.unravel_index(margin.argmax(), margin.shape)
    assert shown["ids"][0] == predictions.ids[row]
    assert shown["labels"][0][0] == model.attributes[column]
    assert len(shown["ids"]) == 3


def test_a_faultless_model_has_a_sheet_that_says_so(made, tmp_path, monkeypatch):
    model = Model(made.model)
    predictions = predict(model, made.holdout)
    perfect = Predictions(
        predictions.ids,
        predictions.probabilities,
        predictions.truth,
        predictions.truth,
        predictions.labels,
        predictions.brightness,
    )
    plots.worst_errors(model, perfect, made.holdout, 3, tmp_path / "worst.jpg")
    assert cv2.imread(str(tmp_path / "worst.jpg")) is not None
    shown = []
    monkeypatch.setattr(plots.contact_sheet, "sheet", lambda images, ids, labels, path: shown.extend(labels))
    plots.worst_errors(model, perfect, made.holdout, 3, tmp_path / "worst.jpg")
    assert shown == [["no error on any image"]]


def test_no_image_of_a_labelled_batch_is_in_the_picture_that_git_keeps(predictions, tmp_path):
    gap = {"attribute": "Smiling", "group": groups.split(predictions)[0].name}
    found = {"per_attribute": dict.fromkeys(NAMES), "gaps": [gap | {"low": 0.1, "tpr": 0.1, "others": 0.9}]}
    with pytest.raises(DataError, match="no holdout"):  # it would show some of the others
        plots.served_worst(predictions, found, tmp_path / "no holdout", tmp_path / "w.jpg", drawn=True)
    batch = dataclasses.replace(predictions, ids=[f"upload/{name}" for name in predictions.ids])
    plots.served_worst(batch, found, tmp_path / "no holdout", tmp_path / "w.jpg", drawn=True)
    assert len(np.unique(cv2.imread(str(tmp_path / "w.jpg"))[:200, 10:170])) < 10
