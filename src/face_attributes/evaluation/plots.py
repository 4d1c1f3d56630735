"""The plots of an evaluation: tables for the templates of `dvc plots`, and a sheet of the worst errors."""

import csv
import io
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_curve

from face_attributes.common import contact_sheet
from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.common.files import write_text
from face_attributes.data import images
from face_attributes.data.shards import ShardReader
from face_attributes.evaluation import groups
from face_attributes.evaluation.metrics import reliability
from face_attributes.evaluation.predictions import Predictions
from face_attributes.model.onnx_model import Model

_POINTS = 40  # of a ROC curve: as many as a small panel can show
_DIGITS = 4
_GAPS, _FACES = 3, 4  # of the picture of groups: its rows, and the faces in each


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
    jpegs = _jpegs(holdout, set(chosen))
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


def served_worst(predictions: Predictions, found: dict, holdout: Path, path: Path, *, drawn: bool) -> None:
    """Draw faces of the groups that the model serves worst: images whose attribute it did not find.

    Git keeps this picture, and may be public, so a photograph is never in it. Images of labelled batches,
    whose names have a folder, may be photographs whatever the source of the other data is.

    Args:
        predictions: The predictions.
        found: The content of `metrics/groups.json`.
        holdout: The hold-out set.
        path: The file to write.
        drawn: Whether the images that are of no labelled batch are drawn faces.

    """
    raw = np.array(["/" not in name for name in predictions.ids])
    parts = {part.name: part.images for part in groups.split(predictions)}
    attributes = list(found["per_attribute"])
    chosen: dict[int, list[str]] = {}
    for gap in [gap for gap in found["gaps"] if gap["low"] > 0][:_GAPS]:
        column = attributes.index(gap["attribute"])
        missed = raw & predictions.truth[:, column] & ~predictions.decisions[:, column] & parts[gap["group"]]
        surest = sorted(np.flatnonzero(missed), key=lambda row: predictions.probabilities[row, column])
        words = [gap["attribute"], gap["group"], f"{gap['tpr']:.0%} found, {gap['others']:.0%} else"]
        for index in surest[:_FACES]:
            chosen.setdefault(int(index), words)
    if not drawn or not chosen:
        text = "no gap" if drawn else "no photograph"
        contact_sheet.sheet([np.full((HEIGHT, WIDTH, 3), 200, np.uint8)], [text], [["is shown"]], path)
        return
    jpegs = _jpegs(holdout, chosen)
    names = [predictions.ids[index] for index in chosen]
    faces = [images.decode(jpegs[index]) for index in chosen]
    contact_sheet.sheet(faces, names, list(chosen.values()), path, columns=_FACES)


def _jpegs(holdout: Path, chosen: Container[int]) -> dict[int, bytes]:
    """Return the files of some images of a hold-out set, by their positions."""
    found: dict[int, bytes] = {}
    position = 0
    for rows in ShardReader([holdout]).batches():
        found |= {position + row: jpeg for row, jpeg in enumerate(rows.jpegs) if position + row in chosen}
        position += len(rows)
    return found


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())
