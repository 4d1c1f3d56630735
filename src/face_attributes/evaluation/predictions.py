"""Predictions of a model for the images of a hold-out set, and the true attributes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_attributes.common.errors import DataError
from face_attributes.common.progress import bar
from face_attributes.data import image_statistics
from face_attributes.data.parallel import decoded
from face_attributes.data.shards import ShardReader
from face_attributes.model.onnx_model import Model

_BRIGHTNESS = image_statistics.STATISTICS.index("brightness")


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model with A attributes about N images.

    Attributes:
        ids: file names.
        probabilities: float32 array (N, A), 0 to 1.
        decisions: bool array (N, A).
        truth: bool array (N, A).
        labels: bool array (N,) for each attribute that the set has labels for, be it the model's or not.
        brightness: float array (N,), mean grey level, 0 to 255.

    """

    ids: list[str]
    probabilities: np.ndarray
    decisions: np.ndarray
    truth: np.ndarray
    labels: dict[str, np.ndarray]
    brightness: np.ndarray


def predict(model: Model, holdout: Path) -> Predictions:
    """Score every image of a hold-out set through the model.

    Raises:
        DataError: the set is damaged, empty, or lacks an attribute of the model.

    """
    return predict_each([model], holdout, model.attributes)[0]


def predict_each(models: Sequence[Model], holdout: Path, attributes: Sequence[str]) -> list[Predictions]:
    """Score every image of a hold-out set through each model, in one pass.

    Args:
        models: models that all know the `attributes`.
        holdout: the hold-out set, a Parquet file.
        attributes: The predicted attributes, in this order.

    Raises:
        DataError: the set is damaged, empty, or lacks one of the attributes.

    """
    reader = ShardReader([holdout])
    missing = [name for name in attributes if name not in reader.attributes]
    if missing:
        raise DataError(f"{holdout}: has no labels for {missing[0]}, which the model predicts")
    total = sum(reader.partition_sizes().values())
    if not total:
        raise DataError(f"{holdout}: holds no images")
    ids: list[str] = []
    labelled: list[np.ndarray] = []
    said: list[list[np.ndarray]] = [[] for _ in models]
    brightness: list[float] = []
    with bar("evaluate", total, "images") as progress:
        for rows, pixels in decoded(holdout):
            ids.extend(rows.ids)
            labelled.append(rows.labels)
            for answers, model in zip(said, models, strict=True):
                answers.append(model.predict(pixels))
            brightness.extend(image_statistics.measure(image)[_BRIGHTNESS] for image in pixels)
            progress.update(len(rows))
    labels = dict(zip(reader.attributes, np.concatenate(labelled).T, strict=True))
    truth = np.stack([labels[name] for name in attributes], axis=1)
    found = []
    for answers, model in zip(said, models, strict=True):
        columns = [model.attributes.index(name) for name in attributes]
        probabilities = np.concatenate(answers)
        decisions = model.decide(probabilities)[:, columns]
        found.append(
            Predictions(ids, probabilities[:, columns], decisions, truth, labels, np.array(brightness))
        )
    return found
