"""Power: the smallest loss that a later comparison on the same hold-out set shows to be significant.

A gate with a limit refuses only a loss that may exceed it, which may be larger.

The comparison is paired, so only images count that two models answer differently. How many that will be is
estimated from one model: two equal models of this pipeline, trained on photographs, disagreed in 4.8% of the
decisions while 10% were wrong, and the accuracy of an image differed between them by 0.78 of its own standard
deviation.
"""

from statistics import NormalDist

import numpy as np

POWER = 0.8
# The error rates of the gates of a release: `gitops.gates.gates`
MEAN_ALPHA, ATTRIBUTE_ALPHA = 0.01, 0.008
_DISAGREEMENT = 0.48  # of the errors
_DEVIATION = 0.78  # of the standard deviation of an image's accuracy
_NORMAL = NormalDist()


def visible_losses(right: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the smallest visible loss of the mean accuracy, and of each attribute (A,).

    Args:
        right: bool array (N, A), which decisions are right.

    """
    images, attributes = right.shape
    mean = _width(MEAN_ALPHA) * _DEVIATION * right.mean(axis=1).std() / np.sqrt(images)
    disagreement = np.maximum(_DISAGREEMENT * (1 - right.mean(axis=0)), 1 / images)
    return float(mean), _width(ATTRIBUTE_ALPHA / attributes) * np.sqrt(disagreement / images)


def _width(alpha: float) -> float:
    """Return the standard errors between no loss and a loss that is found with the probability POWER."""
    return _NORMAL.inv_cdf(1 - alpha) + _NORMAL.inv_cdf(POWER)
