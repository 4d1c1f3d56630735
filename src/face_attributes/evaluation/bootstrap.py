"""The image bootstrap: images drawn again from the same set, to see how far a figure moves by chance.

An image is drawn with all its answers, so figures of several attributes move together as they do in truth.
A resampling does not copy images. It is the count of each image, which metrics take as weights.
"""

from collections.abc import Iterator

import numpy as np

_LOW, _HIGH = 0.025, 0.975
_AT_ONCE = 1 << 20  # weights; more of them leave the processor's cache and are slower


def weights(images: int, resamplings: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each resampling has each image, some resamplings at a time.

    Args:
        images: N, how many images there are; each resampling draws as many, with replacement.
        resamplings: how many rows come in all.
        seed: the same seed gives the same rows.

    Yields:
        uint8 arrays (R, N), each row with the sum N.

    """
    random = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // images)
    for done in range(0, resamplings, rows):
        count = min(rows, resamplings - done)
        drawn = random.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        drawings = np.bincount(drawn.ravel(), minlength=count * images)
        # One image more than 255 times has a chance of less than 1 in 10^500
        yield drawings.reshape(count, images).astype(np.uint8)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """Return the 95% percentile interval of a figure from its values (R,) in the resamplings.

    A resampling in which the figure is undefined (NaN, for example without a positive image) is left out. If
    all are undefined, the interval is NaN to NaN.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, (_LOW, _HIGH))
    return float(low), float(high)
