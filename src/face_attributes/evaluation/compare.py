"""A comparison: whether a model is worse than the incumbent, the one that ships now.

Both models score the same images, so the difference is computed per image. Resampling the images with both
results gives the random variation of the difference, which is much smaller than that of either accuracy. The
tests are those of `gitops.gates.recorded`: resamplings give no p-value below one in their number, and many
tests side by side need smaller ones.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from joblib import cpu_count

from face_attributes.common import contradictions
from face_attributes.common.errors import ModelError
from face_attributes.common.files import sha256, write_json
from face_attributes.common.progress import bar
from face_attributes.evaluation import bootstrap, groups, multiple_testing, slices
from face_attributes.evaluation.metrics import mean_of_defined
from face_attributes.evaluation.predictions import Predictions, predict_each
from face_attributes.model import latency
from face_attributes.model.onnx_model import Model

log = logging.getLogger(__name__)

FORMAT = 4

# No parameters: a branch could move the bar with them.
RESAMPLINGS = 10_000
SEED = 1

_DIGITS = 6


def compare(model: Path, incumbent: Path, holdout: Path, out: Path, batches: Sequence[str] = ()) -> None:
    """Compare two models on a hold-out set and write the figures to `out`.

    With `batches`, only their images count, and latency and size are left out, so two runs write the same
    result. If all images of the batches are duplicates, the hold-out set has no image of them. Then nothing
    is written.

    Raises:
        ModelError: a file is not a model, or the two have no attribute in common.
        DataError: the hold-out set is damaged, empty, or lacks an attribute of both.

    """
    new, old = Model(model), Model(incumbent)
    attributes = [name for name in new.attributes if name in old.attributes]
    if not attributes:
        raise ModelError(f"{model}: has no attribute in common with {incumbent}")
    answers = predict_each([new, old], holdout, attributes)
    if batches:
        answers = [_of(batches, one) for one in answers]
        if not answers[0].ids:
            log.info(f"compare: {holdout} has no image of {', '.join(batches)}: nothing to compare")
            return
    figures = {
        "format": FORMAT,
        "model_sha256": new.sha256,
        "incumbent_sha256": old.sha256,
        "holdout_sha256": sha256(holdout),
        **judge(attributes, answers[0], answers[1]),
        "only_model": [name for name in new.attributes if name not in attributes],
        "only_incumbent": [name for name in old.attributes if name not in attributes],
        **({"batches": list(batches)} if batches else _costs(new, old)),
        "onnxruntime": version("onnxruntime"),
    }
    write_json(out, figures)
    log.info(_told(figures))


def judge(
    attributes: Sequence[str], new: Predictions, old: Predictions, resamplings: int = RESAMPLINGS
) -> dict:
    """Return how the accuracy of two models differs: the mean, for each attribute and in each slice.

    Each of these has `accuracy` and `incumbent`, their `difference` with the 95% percentile interval `low` to
    `high`, and `p_worse`, how likely chance makes a model that is no worse look this much worse. Attributes,
    and slices, are tested side by side: `p_worse_holm` is adjusted for that. An attribute also has `rare`:
    how many of the images with its rarer answer each model finds. `groups` counts the answers of both models
    in each group, `contradictions` the images about which the answers of the model contradict each other.

    Args:
        attributes: names of the A attributes that the predictions are about.
        new: predictions of the model about N images.
        old: predictions of the incumbent about the same.
        resamplings: how often the images are drawn again.

    """
    right, before = (one.decisions == one.truth for one in (new, old))
    parts = [part for part in slices.split(new.labels, new.brightness) if part.images.sum() >= slices.MINIMUM]
    accuracies = _Accuracies.of(right, before, parts)
    differences = accuracies.new - accuracies.old
    resampled = _resampled(right, before, parts, resamplings)
    p_values = _p_values(right, before, parts)
    rows: list[dict[str, Any]] = [
        {
            "accuracy": _rounded(accuracy),
            "incumbent": _rounded(incumbent),
            "difference": _rounded(difference),
            **dict(zip(("low", "high"), map(_rounded, bootstrap.interval(values)), strict=True)),
            "p_worse": _chance(p),
        }
        for accuracy, incumbent, difference, values, p in zip(
            accuracies.new, accuracies.old, differences, resampled.T, p_values, strict=True
        )
    ]
    last = 1 + len(attributes)
    for index, row in enumerate(rows[1:last]):
        row["rare"] = _rare(*(values[:, index] for values in (new.decisions, old.decisions, new.truth)))
    for some in (slice(1, last), slice(last, None)):
        for row, adjusted in zip(rows[some], multiple_testing.adjust(p_values[some]), strict=True):
            row["p_worse_holm"] = _chance(adjusted)
    return {
        "samples": len(new.ids),
        "resamplings": resamplings,
        "mean_accuracy": rows[0],
        "per_attribute": dict(zip(attributes, rows[1:last], strict=True)),
        "slices": {
            part.name: {"by": part.by, "count": int(part.images.sum()), **row}
            for part, row in zip(parts, rows[last:], strict=True)
        },
        "groups": groups.counts(attributes, new.decisions, old.decisions, new.truth, groups.split(new)),
        "contradictions": int(contradictions.images(attributes, new.decisions)[0].sum()),
    }


def _rare(new: np.ndarray, old: np.ndarray, truth: np.ndarray) -> dict[str, int]:
    """Return the results of two models for the rarer class of an attribute (`gitops.gates.comparison.Rare`).

    Args:
        new: decisions of the model, bool (N,).
        old: decisions of the incumbent, bool (N,).
        truth: true answers, bool (N,).

    """
    rarer = truth.mean() <= 0.5
    there, found, before = (values == rarer for values in (truth, new, old))
    counts = {
        "count": there,
        "others": ~there,
        "found": found & there,
        "false": found & ~there,
        "incumbent_found": before & there,
        "incumbent_false": before & ~there,
        "lost": before & ~found & there,
        "gained": found & ~before & there,
    }
    return {name: int(images.sum()) for name, images in counts.items()}


@dataclass(frozen=True)
class _Accuracies:
    """The accuracies of both models, float64 (1 + A + S,): the mean, of A attributes and in S slices."""

    new: np.ndarray
    old: np.ndarray

    @classmethod
    def of(cls, right: np.ndarray, before: np.ndarray, parts: Sequence[slices.Slice]) -> "_Accuracies":
        once = np.ones((1, len(right)), np.uint8)
        return cls(*(_figures(answers.astype(np.float32), parts, once)[0] for answers in (right, before)))


def _resampled(
    right: np.ndarray, before: np.ndarray, parts: Sequence[slices.Slice], resamplings: int
) -> np.ndarray:
    """Return the differences in R resamplings of the images, (R, 1 + A + S)."""
    differences = right.astype(np.float32) - before.astype(np.float32)
    rows = []
    with bar("compare: intervals", resamplings, "resamplings") as progress:
        for weights in bootstrap.weights(len(right), resamplings, SEED):
            rows.append(_figures(differences, parts, weights))
            progress.update(len(weights))
    return np.concatenate(rows)


def _p_values(right: np.ndarray, before: np.ndarray, parts: Sequence[slices.Slice]) -> np.ndarray:
    """Return the p-value of each difference, one-sided: the model is no worse, (1 + A + S,).

    The mean and the slices have a normal test. Attributes have an exact sign test (McNemar, "Note on the
    sampling error of the difference between correlated proportions or percentages", Psychometrika 12, 1947).
    `gitops.gates.significance` has the same tests in plain Python, and a test holds both together.
    """
    pairs = right.astype(np.int8) - before.astype(np.int8)
    of_images = pairs.mean(axis=1)
    counts = zip((pairs < 0).sum(axis=0), (pairs > 0).sum(axis=0), strict=True)
    return np.array(
        [
            _p_mean(of_images),
            *(_p_sign(int(lost), int(gained)) for lost, gained in counts),
            *(_p_mean(of_images[part.images]) for part in parts),
        ]
    )


def _p_mean(values: np.ndarray) -> float:
    error = values.std() / math.sqrt(len(values))
    return NormalDist().cdf(values.mean() / error) if error else float(values.mean() >= 0)


def _p_sign(lost: int, gained: int) -> float:
    tosses = lost + gained
    ways = math.lgamma(tosses + 1) - tosses * math.log(2)
    chances = (
        math.exp(ways - math.lgamma(heads + 1) - math.lgamma(tosses - heads + 1))
        for heads in range(lost, tosses + 1)
    )
    return min(math.fsum(chances), 1.0)


def _figures(answers: np.ndarray, parts: Sequence[slices.Slice], weights: np.ndarray) -> np.ndarray:
    """Return the mean, that of each attribute and in each slice under R weightings, (R, 1 + A + S).

    Args:
        answers: whole numbers as a float32 array (N, A).
        parts: the S slices.
        weights: (R, N), how often an image counts.

    """
    # float32 holds such sums exactly, and multiplies faster than whole numbers do
    sums = (weights.astype(np.float32) @ answers).astype(np.float64)
    of_attributes = sums / weights.sum(axis=1, dtype=np.float64)[:, None]
    figures = [mean_of_defined(of_attributes)[:, None], of_attributes]
    if parts:
        figures.append(slices.accuracies(parts, answers.mean(axis=1, dtype=np.float64), weights))
    return np.concatenate(figures, axis=1)


def _of(batches: Sequence[str], said: Predictions) -> Predictions:
    """Return the predictions for images of labelled batches. Their names begin with the name of the batch."""
    inside = np.array([name.partition("/")[0] in batches and "/" in name for name in said.ids])
    return Predictions(
        [name for name, chosen in zip(said.ids, inside, strict=True) if chosen],
        said.probabilities[inside],
        said.decisions[inside],
        said.truth[inside],
        {name: values[inside] for name, values in said.labels.items()},
        said.brightness[inside],
    )


def _costs(new: Model, old: Model) -> dict[str, object]:
    return {
        "latency": {f"batch_{batch}": _latency(new, old, batch) for batch in latency.BATCHES},
        "size": {"bytes": new.bytes, "incumbent_bytes": old.bytes, "ratio": round(new.bytes / old.bytes, 3)},
        "cores": cpu_count(),
    }


def _latency(new: Model, old: Model, batch: int) -> dict[str, float]:
    ratio = latency.ratio(new, old, batch)
    own, other = round(ratio.p50_ms, 3), round(ratio.other_p50_ms, 3)
    return {
        "p50_ms": own,
        "incumbent_p50_ms": other,
        "ratio": round(own / other, 3),
        "ratio_low": round(ratio.low, 3),
        "ratio_high": round(ratio.high, 3),
    }


def _told(figures: dict) -> str:
    mean = figures["mean_accuracy"]
    worse = [name for name, row in figures["per_attribute"].items() if row["p_worse_holm"] <= 0.05]
    line = (
        f"compare: mean accuracy {mean['accuracy']:.2%} on {figures['samples']} images, "
        f"{mean['difference'] * 100:+.2f} points ({mean['low'] * 100:+.2f} to {mean['high'] * 100:+.2f}); "
        f"significantly worse: {', '.join(worse) or 'no attribute'}"
    )
    if "latency" not in figures:
        return line
    times = ", ".join(
        f"{row['ratio']:.2f} at {name.replace('_', ' ')}" for name, row in figures["latency"].items()
    )
    return f"{line}; latency times {times}; size times {figures['size']['ratio']:.2f}"


def _chance(value: float) -> float:
    """Return a probability with six significant digits: none is zero by rounding."""
    return float(f"{value:.{_DIGITS}g}")


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)
