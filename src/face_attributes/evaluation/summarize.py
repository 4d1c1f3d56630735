"""The figures of an evaluation, as `metrics/evaluation.json` holds them.

What is undefined (no positive image, say) is None; a mean is over the attributes where a figure is defined.
`<figure>_low` and `<figure>_high` are its 95% percentile interval; those of calibration errors, which chance
raises, are centred. All intervals come from the same resamplings of the images: differences between
attributes stay paired, and the same predictions and parameters give the same file.
"""

from collections.abc import Sequence

import numpy as np

from face_attributes.common.progress import bar
from face_attributes.evaluation import bootstrap, slices
from face_attributes.evaluation.metrics import METRICS, Answered, mean_of_defined
from face_attributes.evaluation.predictions import Predictions
from face_attributes.evaluation.slices import Slice
from face_attributes.model.onnx_model import Model
from face_attributes.params import EvaluateParams

_DIGITS = 4

Figures = dict[str, float | None]


def judge(model: Model, predictions: Predictions, params: EvaluateParams) -> dict:
    """Return the figures of the whole, of each slice and of each attribute."""
    answered = Answered(predictions.probabilities, predictions.decisions, predictions.truth)
    parts = slices.split(predictions.labels, predictions.brightness)
    found = answered.under(np.ones((1, len(predictions.ids)), np.uint8))
    resampled, resampled_parts = _resample(answered, found, predictions, parts, params)
    per_slice = _per_slice(answered, parts, resampled_parts)
    return {
        "profile": model.profile,
        "samples": len(predictions.ids),
        "model_sha256": model.sha256,
        **_means(predictions.truth, found, resampled),
        "worst_slice": _worst(per_slice),
        "worst_slice_of_at_least": slices.MINIMUM,
        "brightness_terciles": [_rounded(value) for value in slices.terciles(predictions.brightness)],
        "slices": per_slice,
        "per_attribute": _per_attribute(model.attributes, predictions.truth, found, resampled),
    }


def _resample(
    answered: Answered,
    found: dict[str, np.ndarray],
    predictions: Predictions,
    parts: Sequence[Slice],
    params: EvaluateParams,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the metrics (R, A) and the accuracies of the parts (R, S) in R resamplings of the images."""
    correct = (predictions.decisions == predictions.truth).mean(axis=1)
    of_attributes, of_parts = [], []
    with bar("evaluate: intervals", params.bootstrap, "resamplings") as progress:
        for weights in bootstrap.weights(len(predictions.ids), params.bootstrap, params.seed):
            of_attributes.append(answered.under(weights))
            of_parts.append(slices.accuracies(parts, correct, weights))
            progress.update(len(weights))
    resampled = {metric: np.concatenate([some[metric] for some in of_attributes]) for metric in METRICS}
    resampled["calibration_error"] = bootstrap.centred(
        resampled["calibration_error"], found["calibration_error"][0]
    )
    return resampled, np.concatenate(of_parts)


def _means(truth: np.ndarray, found: dict[str, np.ndarray], resampled: dict[str, np.ndarray]) -> Figures:
    figures: Figures = {}
    for metric in METRICS:
        value, values = mean_of_defined(found[metric])[0], mean_of_defined(resampled[metric])
        figures |= _with_interval(f"mean_{metric}", value, values)
        if metric == "accuracy":
            figures["majority_accuracy"] = _rounded(_majority(truth).mean())
    return figures


def _per_attribute(
    names: Sequence[str], truth: np.ndarray, found: dict[str, np.ndarray], resampled: dict[str, np.ndarray]
) -> dict[str, Figures]:
    rows: dict[str, Figures] = {}
    for index, (name, majority, positives) in enumerate(
        zip(names, _majority(truth), truth.mean(axis=0), strict=True)
    ):
        rows[name] = {}
        for metric in METRICS:
            rows[name] |= _with_interval(metric, found[metric][0, index], resampled[metric][:, index])
            if metric == "accuracy":
                rows[name]["majority_accuracy"] = _rounded(majority)
        rows[name]["positives"] = _rounded(positives)
    return rows


def _per_slice(answered: Answered, parts: Sequence[Slice], resampled: np.ndarray) -> dict[str, dict]:
    # To weigh the images of a part with one and the rest with none is to judge that part
    inside = answered.under(np.stack([part.images for part in parts]).astype(np.uint8))
    return {
        part.name: {
            "by": part.by,
            "count": int(part.images.sum()),
            **_with_interval("accuracy", accuracy, values),
            "balanced_accuracy": _rounded(balanced),
        }
        for part, accuracy, balanced, values in zip(
            parts,
            mean_of_defined(inside["accuracy"]),
            mean_of_defined(inside["balanced_accuracy"]),
            resampled.T,
            strict=True,
        )
    }


def _worst(per_slice: dict[str, dict]) -> dict | None:
    """Return the slice with the lowest accuracy among those with enough images, or None if none has."""
    large = [name for name, row in per_slice.items() if row["count"] >= slices.MINIMUM]
    worst = min(large, key=lambda name: per_slice[name]["accuracy"], default=None)
    return None if worst is None else {"name": worst, **per_slice[worst]}


def _majority(truth: np.ndarray) -> np.ndarray:
    """Return how often the commoner answer of each attribute is right, (A,)."""
    share = truth.mean(axis=0)
    return np.maximum(share, 1 - share)


def _with_interval(name: str, value: float, resampled: np.ndarray) -> Figures:
    low, high = bootstrap.interval(resampled)
    return {name: _rounded(value), f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), _DIGITS)
