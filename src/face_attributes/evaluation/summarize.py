"""The metrics of an evaluation, as `metrics/evaluation.json` holds them.

Undefined metrics (of an attribute without a positive image, for example) are None; a mean is over the
attributes for which a metric is defined. Accuracies have a 95% percentile interval, `<name>_low` to
`<name>_high`. All intervals come from the same resamplings of the images: differences between attributes stay
paired, and the same predictions and parameters give the same file.
"""

import math
from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np

from face_attributes.common.progress import bar
from face_attributes.evaluation import bootstrap, metrics, power, slices
from face_attributes.evaluation.metrics import mean_of_defined
from face_attributes.evaluation.predictions import Predictions
from face_attributes.evaluation.slices import Slice
from face_attributes.model.onnx_model import Model
from face_attributes.params import EvaluateParams

_DIGITS = 4

Figures = dict[str, float | None]


def judge(model: Model, predictions: Predictions, params: EvaluateParams) -> dict:
    """Return the metrics of the whole, of each slice and of each attribute."""
    by_attribute = metrics.per_attribute(predictions.probabilities, predictions.decisions, predictions.truth)
    parts = slices.split(predictions.labels, predictions.brightness)
    resampled, resampled_parts = _resample(predictions, parts, params)
    per_slice = _per_slice(predictions, parts, resampled_parts)
    share = predictions.truth.mean(axis=0)
    majority = np.maximum(share, 1 - share)
    right = predictions.decisions == predictions.truth
    visible, visible_each = power.visible_losses(right)
    recall = metrics.recall_of_rarer(predictions.decisions, predictions.truth)
    return {
        "format": 1,
        "profile": model.profile,
        "samples": len(predictions.ids),
        "model_sha256": model.sha256,
        **_with_interval("mean_accuracy", by_attribute["accuracy"].mean(), resampled.mean(axis=1)),
        "visible_loss": _rounded(visible),
        "majority_accuracy": _rounded(majority.mean()),
        **{f"mean_{name}": _rounded(mean_of_defined(by_attribute[name])) for name in metrics.METRICS[1:]},
        "worst_slice": _worst(per_slice),
        "worst_slice_of_at_least": slices.MINIMUM,
        "brightness_terciles": [_rounded(value) for value in slices.terciles(predictions.brightness)],
        "slices": per_slice,
        "per_attribute": {
            name: {
                **_with_interval("accuracy", by_attribute["accuracy"][index], resampled[:, index]),
                "majority_accuracy": _rounded(majority[index]),
                **{metric: _rounded(by_attribute[metric][index]) for metric in metrics.METRICS[1:]},
                "recall": _rounded(recall[index]),
                "positives": _rounded(share[index]),
                "visible_loss": _rounded(visible_each[index]),
            }
            for index, name in enumerate(model.attributes)
        },
    }


def _resample(
    predictions: Predictions, parts: Sequence[Slice], params: EvaluateParams
) -> tuple[np.ndarray, np.ndarray]:
    """Return the accuracies of attributes (R, A) and of parts (R, S) in R resamplings of the images."""
    # float32 holds sums of whole numbers below 2^24 exactly
    correct = (predictions.decisions == predictions.truth).astype(np.float32)
    of_image = correct.mean(axis=1, dtype=np.float64)
    of_attributes, of_parts = [], []
    with bar("evaluate: intervals", params.bootstrap, "resamplings") as progress:
        for weights in bootstrap.weights(len(predictions.ids), params.bootstrap, params.seed):
            of_attributes.append((weights.astype(np.float32) @ correct).astype(np.float64) / len(correct))
            of_parts.append(slices.accuracies(parts, of_image, weights))
            progress.update(len(weights))
    return np.concatenate(of_attributes), np.concatenate(of_parts)


def _per_slice(predictions: Predictions, parts: Sequence[Slice], resampled: np.ndarray) -> dict[str, dict]:
    decisions, truth = predictions.decisions, predictions.truth
    everyone = np.ones((1, len(truth)), np.uint8)
    accuracies = slices.accuracies(parts, (decisions == truth).mean(axis=1), everyone)[0]
    return {
        part.name: {
            "by": part.by,
            "count": int(part.images.sum()),
            **_with_interval("accuracy", accuracy, values),
            "balanced_accuracy": _rounded(
                mean_of_defined(metrics.balanced_accuracy(decisions[part.images], truth[part.images]))
            ),
        }
        for part, accuracy, values in zip(parts, accuracies, resampled.T, strict=True)
    }


def _worst(per_slice: dict[str, dict]) -> dict | None:
    """Return the slice with the lowest accuracy among those with enough images, or None if none has."""
    large = [name for name, row in per_slice.items() if row["count"] >= slices.MINIMUM]
    worst = min(large, key=lambda name: per_slice[name]["accuracy"], default=None)
    return None if worst is None else {"name": worst, **per_slice[worst]}


def _with_interval(name: str, value: float, resampled: np.ndarray) -> Figures:
    low, high = bootstrap.interval(resampled)
    return {name: _rounded(value), f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}


def _rounded(value: SupportsFloat) -> float | None:
    number = float(value)
    return None if math.isnan(number) else round(number, _DIGITS)
