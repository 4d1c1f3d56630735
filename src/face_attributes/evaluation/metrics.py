"""How good the answers about images are: the figures of each attribute, whatever each image weighs.

A weight says how often an image counts. Weights of one give the figure itself, those of the bootstrap its
values in resamplings, and those of zero and one the figure of a part of the images. scikit-learn gives the
same with `sample_weight`, but takes some forty times as long for a thousand resamplings of 20,000 images.
"""

from dataclasses import dataclass

import numpy as np

METRICS = ("accuracy", "balanced_accuracy", "f1", "average_precision", "roc_auc", "calibration_error")
BINS = 15


class Answered:
    """The answers about N images and A attributes, sorted once, to be judged under many weightings."""

    def __init__(self, probabilities: np.ndarray, decisions: np.ndarray, truth: np.ndarray) -> None:
        """Take arrays (N, A): probabilities from 0 to 1, bool decisions and the bool truth."""
        self._truth, self._decisions = truth, decisions
        self._probabilities = probabilities.astype(np.float64)
        self._rankings = [_rank(*columns) for columns in zip(self._probabilities.T, truth.T, strict=True)]

    def under(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the METRICS under each of R weightings, as float64 arrays (R, A).

        Undefined, and so NaN, are: everything where no image counts; balanced accuracy and ROC AUC where an
        attribute has not both positive and negative images that count; F1 and average precision where it has
        no positive ones.

        Args:
            weights: (R, N) whole numbers, none negative; a row sums to less than 2^24.

        """
        # float32 holds such sums exactly, and multiplies faster than whole numbers do
        rows = weights.astype(np.float32)
        total = rows.sum(axis=1, dtype=np.float64)[:, None]
        positive, decided, hit = (
            (rows @ values.astype(np.float32)).astype(np.float64)
            for values in (self._truth, self._decisions, self._truth & self._decisions)
        )
        negative, rejected = total - positive, total - positive - decided + hit
        with_none = np.pad(weights, ((0, 0), (0, 1)))
        ranked = [_ranked(ranking, with_none) for ranking in self._rankings]
        return {
            "accuracy": _ratio(hit + rejected, total),
            "balanced_accuracy": (_ratio(hit, positive) + _ratio(rejected, negative)) / 2,
            "f1": np.where(positive > 0, _ratio(2 * hit, positive + decided), np.nan),
            "average_precision": np.stack([precision for precision, _ in ranked], axis=1),
            "roc_auc": np.stack([area for _, area in ranked], axis=1),
            "calibration_error": _ratio(self._miscalibration(rows), total),
        }

    def _miscalibration(self, rows: np.ndarray) -> np.ndarray:
        """Return the numerator (R, A) of the expected calibration error.

        Guo et al., On Calibration of Modern Neural Networks (ICML 2017), section 2, equation 3, for an
        attribute that is there or not: a bin's confidence is its mean probability, its accuracy its share of
        positives.
        """
        images = np.arange(len(self._truth))
        gaps = np.empty((len(rows), self._truth.shape[1]))
        for attribute, (probabilities, truth) in enumerate(
            zip(self._probabilities.T, self._truth.T, strict=True)
        ):
            gap = np.zeros((len(images), BINS), np.float32)
            gap[images, _bins(probabilities)] = truth - probabilities
            gaps[:, attribute] = np.abs(rows @ gap).sum(axis=1)
        return gaps


def reliability(probabilities: np.ndarray, truth: np.ndarray) -> list[tuple[float, float, int]]:
    """Return mean probability, share of positives and count of each bin that holds an answer, lowest first.

    Args:
        probabilities: float array of any shape, from 0 to 1.
        truth: bool array of that shape.

    """
    bins = _bins(probabilities.ravel())
    counts = np.bincount(bins, minlength=BINS)
    means = _ratio(np.bincount(bins, probabilities.ravel(), BINS), counts)
    shares = _ratio(np.bincount(bins, truth.ravel(), BINS), counts)
    return [
        (float(mean), float(share), int(count))
        for mean, share, count in zip(means, shares, counts, strict=True)
        if count
    ]


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is not NaN there; NaN where nothing is left."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))


@dataclass(frozen=True)
class _Ranking:
    """The images of one attribute, the likeliest first, and in it G groups of equal probability.

    `images` and `positives` are their indices (1 + n,) after one that stands for no image, N, so that running
    sums begin with zero. Only groups that hold a positive image are kept: others add nothing to either area.
    `start` and `end` count the images before and through a group, `positive_start` and `positive_end` the
    positive ones; all are (G,).
    """

    images: np.ndarray
    positives: np.ndarray
    start: np.ndarray
    end: np.ndarray
    positive_start: np.ndarray
    positive_end: np.ndarray


def _rank(probabilities: np.ndarray, truth: np.ndarray) -> _Ranking:
    order = np.argsort(-probabilities, kind="stable")
    ranked = -probabilities[order]
    positives = order[truth[order]]
    ranked_positives = -probabilities[positives]
    groups = np.unique(ranked_positives)
    return _Ranking(
        np.append(len(order), order),
        np.append(len(order), positives),
        np.searchsorted(ranked, groups, "left"),
        np.searchsorted(ranked, groups, "right"),
        np.searchsorted(ranked_positives, groups, "left"),
        np.searchsorted(ranked_positives, groups, "right"),
    )


def _ranked(ranking: _Ranking, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return average precision and ROC AUC (R,) of one attribute under weights (R, N + 1).

    Both are sums over groups of equal probability, which count as a whole, so that no order within one is
    favoured: Fawcett, An introduction to ROC analysis (2006), sections 5 and 7.
    """
    everyone, positives = (
        np.cumsum(np.take(weights, images, axis=1), axis=1, dtype=np.int32)
        for images in (ranking.images, ranking.positives)
    )
    upto, before = everyone[:, ranking.end], everyone[:, ranking.start]
    positives_upto, positives_before = (
        positives[:, ranking.positive_end],
        positives[:, ranking.positive_start],
    )
    here = (positives_upto - positives_before).astype(np.float64)
    positive = positives[:, -1].astype(np.float64)
    negative = everyone[:, -1] - positive
    # Nobody up to here means no positive here either: the term is zero whatever it is divided by
    precision = np.einsum("rg,rg->r", here, positives_upto / np.maximum(upto, 1))
    # How many negatives are likelier than these positives, of two equals half a one
    passed = np.einsum("rg,rg->r", here, (upto - positives_upto + before - positives_before) / 2)
    return _ratio(precision, positive), 1 - _ratio(passed, positive * negative)


def _bins(probabilities: np.ndarray) -> np.ndarray:
    """Return the bin of each probability: equally wide, open below and closed above, as in Guo et al."""
    return np.clip(np.ceil(probabilities.astype(np.float64) * BINS).astype(int) - 1, 0, BINS - 1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is zero."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=np.asarray(denominator) > 0)
