"""Groups of people: how often a model is right about each of them, for each attribute.

Two groups may have equal accuracies while one of them is never found: an attribute is rarer in one group than
in another. So yes and no are counted apart: the true positive rate is the share of the images with the
attribute that the model finds, the false positive rate the share of the others for which it answers yes.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from face_attributes.common import contradictions
from face_attributes.evaluation import slices
from face_attributes.evaluation.metrics import calibration_error
from face_attributes.evaluation.predictions import Predictions
from face_attributes.evaluation.slices import MINIMUM, Slice
from face_attributes.model.onnx_model import Model

EVERYBODY = "all images"
_Z = NormalDist().inv_cdf(0.975)
_DIGITS = 4


def split(predictions: Predictions) -> list[Slice]:
    """Return the groups of the images, all images first."""
    everybody = np.ones(len(predictions.ids), bool)
    return [
        Slice(EVERYBODY, "all", everybody),
        *slices.split(predictions.labels, predictions.brightness),
    ]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95% score interval of the share hits / count, count > 0.

    Source: Wilson, Probable inference, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    share, square = hits / count, _Z * _Z
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = _Z / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def newcombe(
    share: float, interval: tuple[float, float], other: float, of_other: tuple[float, float]
) -> tuple[float, float]:
    """Return the 95% interval of share - other, two independent shares with their score intervals.

    Source: Newcombe, Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17 (1998), 873-890, method 10.
    """
    (low, high), (other_low, other_high) = interval, of_other
    difference = share - other
    return (
        difference - math.hypot(share - low, other_high - other),
        difference + math.hypot(high - share, other - other_low),
    )


def measure(model: Model, predictions: Predictions) -> dict:
    """Return the content of `metrics/groups.json`.

    Each attribute and group has counts, and rates with 95% score intervals, which take images for independent
    of each other. A rate without an image is None. `gaps` compares each group with everybody else, for the
    attributes with MINIMUM images in both: how much lower its true positive rate is, the largest first.
    """
    parts = split(predictions)
    attributes = model.attributes
    rows = {
        name: {
            part.name: _row(*(column[part.images] for column in columns))
            for part in parts
            # The label that makes the group is the answer
            if part.name == EVERYBODY or name not in part.by.split(" and ")
        }
        for name, *columns in zip(
            attributes,
            predictions.truth.T,
            predictions.decisions.T,
            predictions.probabilities.T,
            strict=True,
        )
    }
    answered, pairs = contradictions.images(attributes, predictions.decisions)
    labelled, _ = contradictions.images(attributes, predictions.truth)
    return {
        "format": 1,
        "model_sha256": model.sha256,
        "samples": len(predictions.ids),
        "minimum": MINIMUM,
        "groups": {part.name: {"by": part.by, "count": int(part.images.sum())} for part in parts},
        "per_attribute": rows,
        "gaps": _gaps(rows),
        "contradictions": {
            **_share("rate", int(answered.sum()), len(answered)),
            "labels": _rounded(labelled.mean()),
            "pairs": pairs,
        },
    }


def _row(truth: np.ndarray, decided: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
    positives, answers = int(truth.sum()), int(decided.sum())
    found = int((truth & decided).sum())
    error = calibration_error(probabilities.astype(np.float64), truth) if len(truth) else math.nan
    return {
        "positives": positives,
        "negatives": len(truth) - positives,
        "found": found,
        "false": answers - found,
        **_share("tpr", found, positives),
        **_share("fpr", answers - found, len(truth) - positives),
        **_share("precision", found, answers),
        "calibration_error": _rounded(error),
    }


def _gaps(rows: dict[str, dict[str, dict]]) -> list[dict]:
    gaps = []
    for attribute, groups in rows.items():
        everybody = groups[EVERYBODY]
        for name, row in groups.items():
            rest = {key: everybody[key] - row[key] for key in ("positives", "found")}
            if name == EVERYBODY or min(row["positives"], rest["positives"]) < MINIMUM:
                continue
            here, there = (one["found"] / one["positives"] for one in (row, rest))
            intervals = [wilson(one["found"], one["positives"]) for one in (rest, row)]
            low, high = newcombe(there, intervals[0], here, intervals[1])
            gaps.append(
                {
                    "attribute": attribute,
                    "group": name,
                    "tpr": _rounded(here),
                    "others": _rounded(there),
                    "gap": _rounded(there - here),
                    "low": _rounded(low),
                    "high": _rounded(high),
                }
            )
    return sorted(gaps, key=lambda row: -row["gap"])


def counts(
    attributes: Sequence[str], new: np.ndarray, old: np.ndarray, truth: np.ndarray, parts: Sequence[Slice]
) -> dict[str, dict]:
    """Return the results of two models in each group (`gitops.gates.comparison.Group`).

    Args:
        attributes: Names of the A attributes.
        new: Decisions of the model, bool (N, A).
        old: Decisions of the incumbent, bool (N, A).
        truth: True answers, bool (N, A).
        parts: The groups of the N images.

    """
    yes = {
        "positives": truth,
        "found": new & truth,
        "incumbent_found": old & truth,
        "lost": old & ~new & truth,
        "gained": new & ~old & truth,
    }
    no = {
        "negatives": ~truth,
        "false": new & ~truth,
        "incumbent_false": old & ~truth,
        "spoilt": new & ~old & ~truth,
        "mended": old & ~new & ~truth,
    }
    inside = np.stack([part.images for part in parts]).astype(np.float32)
    # float32 holds whole numbers below 2^24 exactly
    sums = {name: (inside @ values.astype(np.float32)).astype(int) for name, values in (yes | no).items()}
    return {
        part.name: {
            "by": part.by,
            "per_attribute": {
                name: {key: int(table[row, column]) for key, table in sums.items()}
                for column, name in enumerate(attributes)
                if part.name == EVERYBODY or name not in part.by.split(" and ")
            },
        }
        for row, part in enumerate(parts)
    }


def _share(name: str, hits: int, count: int) -> dict[str, float | None]:
    if not count:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    low, high = wilson(hits, count)
    return {name: _rounded(hits / count), f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), _DIGITS)
