"""Performance: how often the model was right about images whose true attributes came to be known later."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from face_attributes.common.errors import DataError
from face_attributes.common.files import write_json
from face_attributes.evaluation import bootstrap, slices
from face_attributes.evaluation import reference as references
from face_attributes.evaluation.slices import Slice
from face_attributes.monitoring import late_labels, score_files
from face_attributes.monitoring.late_labels import LateLabels
from face_attributes.monitoring.score_files import ALL, DateRange

MINIMUM = 100  # labelled images: of fewer, the interval is wide and its ends are guesses
NAMED = 20  # lists that were left out, with their reasons
AT_MOST = 20_000  # labelled images: more make the interval no narrower than matters

_RESAMPLINGS, _SEED = 1000, 1
_DIGITS = 4


def performance(
    places: Iterable[Path],
    labels: Iterable[Path],
    reference: Path,
    model_sha256: str,
    threshold: float,
    out: Path,
    release: str | None = None,
    days: DateRange = ALL,
    evaluation: Path | None = None,
    max_loss: float = 0.0,
) -> dict:
    """Compare scores with late labels, and write the result.

    The model is below the threshold when the whole 95% interval of its accuracy is: chance does not explain
    it then. It is below its release if the whole 95% interval of the difference from the release's own
    evaluation lies below -`max_loss`.

    Args:
        places: files of scores, or folders of them.
        labels: attribute lists, or folders of them. A malformed list is left out.
        reference: of the model; it knows its attributes.
        model_sha256: digest of the model; other models' scores are left out.
        threshold: mean accuracy that the model is to keep, 0 to 1.
        out: JSON file to write.
        release: the commit that the model belongs to, if it is to be noted.
        days: leave out scores of others.
        evaluation: The output of the stage evaluate. Without it, only the threshold counts.
        max_loss: The allowed loss of accuracy since the evaluation, 0 to 1.

    Returns:
        The content of `out`. `below_threshold` and `below_release` are None without enough labels.

    Raises:
        DataError: a file of scores cannot be read, two labels contradict each other, or the evaluation is
            that of another model.

    """
    claimed = None if evaluation is None else _claimed(evaluation, model_sha256)
    known = references.read(reference, model_sha256)
    attributes = references.attributes(known)
    lists = late_labels.files_in(labels)
    late_labels.name_unread(labels)
    truths = LateLabels(lists, attributes)
    if truths.contradictions:
        # One wrong line of another list must not hide the labels by which the accuracy would be too low.
        raise DataError(truths.contradictions[0])
    tables = score_files.read(
        score_files.files_in(places, days), model_sha256, [*attributes, slices.BRIGHTNESS]
    )
    found, seen = score_files.sample(_labelled(tables, truths), AT_MOST)
    verdict = {
        "format": 1,
        "release": release,
        "model_sha256": model_sha256,
        **days.note(),
        "label_files": len(lists) - len(truths.left_out),
        "label_files_left_out": len(truths.left_out),
        "left_out": truths.left_out[:NAMED],
        "labels": len(truths),
        "images": seen,
        "minimum": MINIMUM,
        "enough_labels": seen >= MINIMUM,
        "threshold": threshold,
        "claimed_accuracy": None if claimed is None else claimed[0],
        "max_loss": max_loss,
        # The higher of the two limits, for people to look at
        "limit": threshold if claimed is None else round(max(threshold, claimed[0] - max_loss), _DIGITS),
        "below_threshold": None,
        "below_release": None,
        "mean_accuracy": None,
        "mean_accuracy_low": None,
        "mean_accuracy_high": None,
        "slices": {},
        "per_attribute": {},
    }
    if found is not None and verdict["enough_labels"]:
        # The limits of dark and bright come from the reference, however the light has changed since
        thirds = slices.terciles(known.column(slices.BRIGHTNESS).to_numpy())
        verdict |= _judge(found, truths, attributes, thirds)
        verdict["below_threshold"] = verdict["mean_accuracy_high"] < threshold
        if claimed is not None:
            accuracy, error = claimed
            own_error = verdict["mean_accuracy_high"] - verdict["mean_accuracy"]
            highest = verdict["mean_accuracy"] + math.hypot(own_error, error)
            verdict["below_release"] = bool(highest < accuracy - max_loss)
    write_json(out, verdict)
    return verdict


def _claimed(evaluation: Path, model_sha256: str) -> tuple[float, float]:
    """Return the mean accuracy that a release claims, and the lower half of its 95% interval."""
    try:
        claim = json.loads(evaluation.read_text(encoding="utf-8"))
        model, accuracy = claim["model_sha256"], float(claim["mean_accuracy"])
        low = float(claim["mean_accuracy_low"])
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise DataError(
            f"{evaluation}: not an output of the stage evaluate ({failure!r}); run it again"
        ) from None
    if model != model_sha256:
        raise DataError(f"{evaluation}: is about another model, {str(model)[:12]}; take that of the release")
    if not 0 <= low <= accuracy <= 1:
        raise DataError(
            f"{evaluation}: not an output of the stage evaluate: mean_accuracy is {accuracy:g}, "
            f"mean_accuracy_low {low:g}; run it again"
        )
    return accuracy, accuracy - low


def _labelled(tables: Iterable[pa.Table], truths: LateLabels) -> Iterator[pa.Table]:
    for table in tables:
        names = table.column(score_files.NAME).to_pylist()
        yield table.filter(pa.array([truths.find(name) is not None for name in names], pa.bool_()))


def _judge(
    found: pa.Table, truths: LateLabels, attributes: Sequence[str], thirds: tuple[float, float]
) -> dict:
    known = map(truths.find, found.column(score_files.NAME).to_pylist())
    truth = np.stack([labels for labels in known if labels is not None])
    decisions = np.stack([found.column(name).to_numpy() for name in attributes], axis=1)
    right = (decisions == truth).astype(np.float64)
    labels = dict(zip(attributes, truth.T, strict=True))
    parts = slices.split(labels, found.column(slices.BRIGHTNESS).to_numpy(), thirds)
    correct = right.mean(axis=1)
    drawn, drawn_parts = [], []
    for weights in bootstrap.weights(len(right), _RESAMPLINGS, _SEED):
        drawn.append(weights @ right / len(right))
        drawn_parts.append(slices.accuracies(parts, correct, weights))
    resampled, resampled_parts = np.concatenate(drawn), np.concatenate(drawn_parts)
    low, high = bootstrap.interval(resampled.mean(axis=1))
    return {
        "mean_accuracy": round(right.mean(), _DIGITS),
        "mean_accuracy_low": round(low, _DIGITS),
        "mean_accuracy_high": round(high, _DIGITS),
        "slices": {
            part.name: _part(part, correct, values)
            for part, values in zip(parts, resampled_parts.T, strict=True)
        },
        "per_attribute": {
            name: _attribute(right[:, index], resampled[:, index], truth[:, index])
            for index, name in enumerate(attributes)
        },
    }


def _part(part: Slice, correct: np.ndarray, resampled: np.ndarray) -> dict:
    """Return the number of images in a slice, and its accuracy, or None for too few images."""
    count = int(part.images.sum())
    enough = count >= slices.MINIMUM
    low, high = bootstrap.interval(resampled) if enough else (None, None)
    return {
        "by": part.by,
        "count": count,
        "accuracy": round(correct[part.images].mean(), _DIGITS) if enough else None,
        "accuracy_low": None if low is None else round(low, _DIGITS),
        "accuracy_high": None if high is None else round(high, _DIGITS),
    }


def _attribute(right: np.ndarray, resampled: np.ndarray, truth: np.ndarray) -> dict:
    low, high = bootstrap.interval(resampled)
    return {
        "accuracy": round(right.mean(), _DIGITS),
        "accuracy_low": round(low, _DIGITS),
        "accuracy_high": round(high, _DIGITS),
        "positives": round(truth.mean(), _DIGITS),
    }
