"""How good the answers about images are: the metrics of each attribute."""

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

METRICS = ("accuracy", "balanced_accuracy", "f1", "average_precision", "roc_auc", "calibration_error")
BINS = 15


def per_attribute(
    probabilities: np.ndarray, decisions: np.ndarray, truth: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the METRICS of the answers about N images, N > 0, as float64 arrays (A,).

    Undefined metrics are NaN: balanced accuracy and ROC AUC of an attribute that all images have or no image
    has, F1 and average precision of an attribute that no image has.

    Args:
        probabilities: (N, A), from 0 to 1.
        decisions: bool array (N, A).
        truth: bool array (N, A).

    """
    columns = list(zip(truth.T, probabilities.astype(np.float64).T, strict=True))
    positive, hit = truth.sum(axis=0), (truth & decisions).sum(axis=0)
    both = (positive > 0) & (positive < len(truth))
    return {
        "accuracy": (decisions == truth).mean(axis=0),
        "balanced_accuracy": balanced_accuracy(decisions, truth),
        "f1": np.where(positive > 0, _ratio(2 * hit, positive + decisions.sum(axis=0)), np.nan),
        "average_precision": np.array(
            [average_precision_score(*column) if column[0].any() else np.nan for column in columns]
        ),
        "roc_auc": np.array(
            [
                roc_auc_score(*column) if defined else np.nan
                for column, defined in zip(columns, both, strict=True)
            ]
        ),
        "calibration_error": np.array([calibration_error(predicted, true) for true, predicted in columns]),
    }


def balanced_accuracy(decisions: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the balanced accuracy (A,) of bool arrays (N, A); NaN where all images, or no image, has it."""
    recall, specificity = (
        _ratio((right & some).sum(axis=0), some.sum(axis=0))
        for right, some in ((decisions, truth), (~decisions, ~truth))
    )
    return (recall + specificity) / 2


def recall_of_rarer(decisions: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the share of the images with the rarer answer that are found (A,); NaN where there are none."""
    there = truth == (truth.mean(axis=0) <= 0.5)
    return _ratio((there & (decisions == truth)).sum(axis=0), there.sum(axis=0))


def reliability(probabilities: np.ndarray, truth: np.ndarray) -> list[tuple[float, float, int]]:
    """Return mean probability, share of positives and count of each bin that holds an answer, lowest first.

    Bins are equally wide, open below and closed above: Guo et al., On Calibration of Modern Neural Networks
    (ICML 2017), section 2.

    Args:
        probabilities: float array of any shape, from 0 to 1.
        truth: bool array of that shape.

    """
    predicted = probabilities.astype(np.float64).ravel()
    bins = np.clip(np.ceil(predicted * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    means = _ratio(np.bincount(bins, predicted, BINS), counts)
    shares = _ratio(np.bincount(bins, truth.ravel(), BINS), counts)
    return [
        (float(mean), float(share), int(count))
        for mean, share, count in zip(means, shares, counts, strict=True)
        if count
    ]


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of the values there that are not NaN; NaN if all are."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the expected calibration error, equation 3 of Guo et al., of one attribute."""
    gaps = (count * abs(share - mean) for mean, share, count in reliability(probabilities, truth))
    return sum(gaps) / len(truth)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is zero."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=np.asarray(denominator) > 0)
