"""The plots of an evaluation: tables for the templates of `dvc plots`, and a sheet of the worst errors."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_curve

from face_attributes.common.files import write_text
from face_attributes.data import images
from face_attributes.data.shards import ShardReader
from face_attributes.evaluation import contact_sheet
from face_attributes.evaluation.metrics import reliability
from face_attributes.evaluation.predictions import Predictions
from face_attributes.model.onnx_model import Model

_POINTS = 40  # of a ROC curve: as many as a small panel can show
_DIGITS = 4


def accuracies(per_attribute: dict[str, dict], path: Path) -> None:
    """Write each attribute's accuracy, its interval and the majority class, the worst first."""
    columns = ("accuracy", "accuracy_low", "accuracy_high", "majority_accuracy")
    rows = sorted(per_attribute.items(), key=lambda row: row[1]["accuracy"])
    _write(
        path,
        ("attribute", "accuracy", "low", "high", "majority"),
        ([name, *(row[column] for column in columns)] for name, row in rows),
    )


def slices(figures: dict, path: Path) -> None:
    """Write the accuracy of all images and of each slice with its interval, in the order of the figures."""
    columns = ("accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "count")
    everything = [figures[f"mean_{column}"] for column in columns[:-1]] + [figures["samples"]]
    parts = [
        [name, row["by"], *(row[column] for column in columns)]
        for name, row in figures["slices"].items()
        if row["count"]
    ]
    _write(
        path,
        ("slice", "by", "accuracy", "low", "high", "balanced_accuracy", "count"),
        [["all images", "all", *everything], *parts],
    )


def roc(per_attribute: dict[str, dict], predictions: Predictions, path: Path) -> None:
    """Write the ROC curve of each attribute that has one, the smallest area under it first."""
    defined = [index for index, row in enumerate(per_attribute.values()) if row["roc_auc"] is not None]
    names, areas = list(per_attribute), [row["roc_auc"] for row in per_attribute.values()]
    rows = []
    for index in sorted(defined, key=lambda index: areas[index]):
        false_positives, true_positives, _ = roc_curve(
            predictions.truth[:, index], predictions.probabilities[:, index]
        )
        # Evenly along the curve: steps along one axis would give few points in the steep or the flat part
        along = (false_positives + true_positives) / 2
        chosen = np.unique(np.searchsorted(along, np.linspace(0, 1, _POINTS)))
        rows += [
            [names[index], round(float(x), _DIGITS), round(float(y), _DIGITS), areas[index]]
            for x, y in zip(false_positives[chosen], true_positives[chosen], strict=True)
        ]
    _write(path, ("attribute", "false_positive_rate", "true_positive_rate", "area"), rows)


def calibration(predictions: Predictions, path: Path) -> None:
    """Write the calibration table: predicted probability and observed frequency, over all attributes."""
    rows = (
        [round(predicted, _DIGITS), round(observed, _DIGITS), count]
        for predicted, observed, count in reliability(predictions.probabilities, predictions.truth)
    )
    _write(path, ("predicted", "observed", "count"), rows)


def worst_errors(model: Model, predictions: Predictions, holdout: Path, count: int, path: Path) -> None:
    """Draw the images with the most confident errors, each with its worst error."""
    wrong = predictions.decisions != predictions.truth
    margin = np.abs(predictions.probabilities - model.thresholds) * wrong
    worst = margin.max(axis=1)
    chosen = [int(index) for index in np.argsort(-worst, kind="stable")[:count] if worst[index] > 0]
    if not chosen:
        chosen = [0]
    jpegs: dict[int, bytes] = {}
    position = 0
    for rows in ShardReader([holdout]).batches():
        wanted = [index for index in chosen if position <= index < position + len(rows)]
        jpegs |= {index: rows.jpegs[index - position] for index in wanted}
        position += len(rows)
    labels = []
    for index in chosen:
        if not worst[index]:
            labels.append(["no error on any image"])
            continue
        attribute = int(margin[index].argmax())
        probability = predictions.probabilities[index, attribute]
        truth = "yes" if predictions.truth[index, attribute] else "no"
        labels.append([model.attributes[attribute], f"answers {probability:.0%}, is {truth}"])
    names = [predictions.ids[index] for index in chosen]
    contact_sheet.sheet([images.decode(jpegs[index]) for index in chosen], names, labels, path)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())
