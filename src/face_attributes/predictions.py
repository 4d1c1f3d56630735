"""What a model says about the images of a hold-out set, from their JPEG bytes, and what is true of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_attributes import image_statistics
from face_attributes.decoding import decoded
from face_attributes.errors import DataError
from face_attributes.model import Model
from face_attributes.progress import bar
from face_attributes.shards import ShardReader

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
    reader = ShardReader([holdout])
    missing = [name for name in model.attributes if name not in reader.attributes]
    if missing:
        raise DataError(f"{holdout}: has no labels for {missing[0]}, which the model predicts")
    total = sum(reader.partition_sizes().values())
    if not total:
        raise DataError(f"{holdout}: holds no images")
    ids: list[str] = []
    labelled: list[np.ndarray] = []
    said: list[np.ndarray] = []
    brightness: list[float] = []
    with bar("evaluate", total, "images") as progress:
        for rows, pixels in decoded(holdout):
            ids.extend(rows.ids)
            labelled.append(rows.labels)
            said.append(model.predict(pixels))
            brightness.extend(image_statistics.measure(image)[_BRIGHTNESS] for image in pixels)
            progress.update(len(rows))
    probabilities = np.concatenate(said)
    labels = dict(zip(reader.attributes, np.concatenate(labelled).T, strict=True))
    truth = np.stack([labels[name] for name in model.attributes], axis=1)
    return Predictions(ids, probabilities, model.decide(probabilities), truth, labels, np.array(brightness))
