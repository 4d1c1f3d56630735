"""Joint test: whether all columns of all windows together differ from the reference.

A column drifts by itself where it differs in two windows, each tested alone. A small change of many images,
such as ten points more men, is too small for a window and shows in the whole period. So this test compares
all windows with the reference in three ways: the largest shift of a column's mean; the means of all columns
at once (Hotelling's T², with a ridge, as columns resemble each other); and the distributions of all columns
at once, by the maximum mean discrepancy of a Gaussian kernel. The kernel's features are random waves: the
discrepancy is the distance of their means. It is better where images move from one kind to another, such as
more men, and T² where all images move a little.

How far chance moves them is learned from the reference by permutation: the deviation of each block of the
reference gets a random sign, as if it could as well have been among the scored images. A block is all images
of one person, or an image where nobody is on two images. Other people and other days add a variance to each
column, as in `limits`. One bad window is an incident, so the test must hold without the window that speaks
most for it.

Sources: Hotelling, The Generalization of Student's Ratio, Annals of Mathematical Statistics 2 (1931);
Gretton et al., A Kernel Two-Sample Test, Journal of Machine Learning Research 13 (2012), also for the width
of the kernel; Rahimi and Recht, Random Features for Large-Scale Kernel Machines, NIPS 2007.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from face_attributes.monitoring import column_tests, limits

ALPHA = 0.02
"""How often chance and other people may make the joint test differ, in a check."""
_LARGEST, _ALL, _KERNEL = 0.4, 0.25, 0.35  # their shares of ALPHA
_PERMUTATIONS, _SEED = 4000, 1
_AT_MOST = 5000  # rows of the reference that are permuted
_PEOPLE = 30  # at least, of a reference
_RIDGE = 1.0  # variances of a column
_WAVES = 128  # each a cosine and a sine
_PAIRS = 2000  # of rows, whose median distance is the width of the kernel
# A smaller discrepancy does not matter, in standard deviations of the waves. On photographs, ten points more
# men make one of 0.07
_LEAST_KERNEL = 0.03
_OUTLIER = 4.0  # standard deviations: values further off count as this far
# A shift that stays has most of its size without any one window; an incident has little
_WITHOUT = 0.8
# Rows of the reference for each column: the correlations of fewer are too uncertain for T². With five, it
# differed in 2.4 % of 500 unchanged weeks where 0.5 % are meant
ROWS_EACH = 10
_NAMED = 3
_DIGITS = 4


@dataclass(frozen=True)
class Joint:
    """The result of a joint test.

    Attributes:
        differs: Whether the columns differ together.
        columns: The columns whose shift is over the limit, the largest shift first. Where no column's is and
            all together differ, the three of the largest shift.
        largest: The largest shift of a column, in standard errors, and
        largest_limit: the shift that chance and other people rarely reach.
        distance: The statistic of all columns at once, and
        distance_limit: the value that chance and other people rarely reach.
        kernel: The maximum mean discrepancy, squared, in units of its mean by chance, and
        kernel_limit: the value that chance and other people rarely reach.
        effect: The distance of the means, in standard deviations, without the part that chance adds.

    """

    differs: bool
    columns: list[str]
    largest: float
    largest_limit: float
    distance: float
    distance_limit: float
    kernel: float
    kernel_limit: float
    effect: float

    def note(self) -> dict[str, object]:
        """Return the test as JSON has it."""
        return {
            name: round(value, _DIGITS) if isinstance(value, float) else value
            for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class _Means:
    """Values of the reference whose means are compared: K values that vary of M rows.

    Attributes:
        rows: float (M, K).
        people: The variance that other people add to each mean, (K,), see `limits.between`.
        window: The variance between the means of windows, (K,), see `limits.among`.
        windows: The number of windows of the reference.

    """

    rows: np.ndarray
    people: np.ndarray
    window: np.ndarray
    windows: int

    @classmethod
    def of(cls, rows: np.ndarray, people: np.ndarray | None, window: np.ndarray | None) -> "_Means":
        return cls(
            rows,
            np.array([limits.between(column, people) for column in rows.T]),
            np.array([limits.among(column, window) for column in rows.T]),
            1 if window is None else len(np.unique(window)),
        )

    def shift(self, parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the shift of each mean of windows of images (N, K): as it is, and in standard errors."""
        found = np.concatenate(parts)
        shift = found.mean(axis=0) - self.rows.mean(axis=0)
        images = 1 / len(found) + 1 / len(self.rows)
        own = self.rows.var(axis=0)
        spread = (own + found.var(axis=0)) / 2
        others = self.people + self.window * (1 / len(parts) + 1 / self.windows)
        return shift, shift / np.sqrt(images * spread + others * own)


@dataclass(frozen=True)
class Reference:
    """A reference as the joint test needs it: C columns that vary, in standard deviations.

    Attributes:
        names: of the columns.
        mean: of each column, (C,), and
        deviation: its standard deviation, (C,).
        columns: The columns of the M rows, and
        waves: the waves of the M rows.
        directions: of the waves, (C, waves).
        weights: of the waves' errors in the discrepancy, (2 x waves,); they add up to 1.
        least: the shift of each column that matters, (C,), in standard deviations.
        limits: of the largest shift, of the distance, and of the discrepancy.
        ridged: the inverse of the correlations and the ridge, (C, C).

    """

    names: Sequence[str]
    mean: np.ndarray
    deviation: np.ndarray
    columns: _Means
    waves: _Means
    directions: np.ndarray
    weights: np.ndarray
    least: np.ndarray
    limits: tuple[float, float, float]
    ridged: np.ndarray

    @classmethod
    def of(
        cls,
        columns: Mapping[str, np.ndarray],
        people: np.ndarray | None,
        alpha: float = ALPHA,
        window: np.ndarray | None = None,
    ) -> "Reference | None":
        """Learn the limits from the columns of a reference, and the person and the window of each image.

        With `alpha`, chance and other people make the test differ at most that often.

        Decisions that hardly any image gets, or nearly all, are left out: chance moves their mean in steps.
        None where no column varies, or where the reference shows too few people to permute.
        """
        chosen = {name: values for name, values in columns.items() if _varies(values)}
        if not chosen or (people is not None and limits.effective(people) < _PEOPLE):
            return None
        raw = np.stack([values.astype(np.float64) for values in chosen.values()], axis=1)
        mean, deviation = raw.mean(axis=0), raw.std(axis=0)
        rows = _scaled(raw, mean, deviation)
        shares = np.array([values.dtype == np.bool_ for values in chosen.values()])
        least = np.where(shares, column_tests.LEAST_SHARE / deviation, limits.LEAST)
        correlations = np.atleast_2d(np.corrcoef(rows.T))
        ridged = np.linalg.inv(correlations + _RIDGE * np.eye(len(chosen)))
        directions = _directions(rows)
        waves = _waves(rows, directions)
        weights = waves.var(axis=0) / waves.var(axis=0).sum()
        found = _limits(rows, waves, people, ridged, weights, alpha)
        parts = _Means.of(rows, people, window), _Means.of(waves, people, window)
        return cls(list(chosen), mean, deviation, *parts, directions, weights, least, found, ridged)


def compare(windows: Sequence[Mapping[str, np.ndarray]], reference: Reference) -> Joint:
    """Compare the images of some windows, each with its columns (N,), with a reference."""
    parts = [
        _scaled(
            np.stack([window[name].astype(np.float64) for name in reference.names], axis=1),
            reference.mean,
            reference.deviation,
        )
        for window in windows
    ]
    waves = [_waves(part, reference.directions) for part in parts]
    shift, errors, distance, kernel = _measured(parts, waves, reference)
    one, all_columns, discrepancy = reference.limits
    # The share of the distance beyond the distance that chance makes
    chance = _expected(reference)
    beyond = max(0.0, 1 - chance / distance) if distance else 0.0
    effect = np.sqrt(beyond * _distance(shift, reference.ridged))
    without = [
        _measured(_without(index, parts), _without(index, waves), reference)[1:]
        for index in range(len(parts))
        if len(parts) > 1
    ]
    far = (np.abs(errors) >= one) & (np.abs(shift) >= reference.least)
    for others, _, _ in without:
        far &= np.sign(errors) * others >= _WITHOUT * one
    linear = (
        len(reference.columns.rows) >= ROWS_EACH * len(reference.names)
        and distance >= all_columns
        and effect >= limits.LEAST
        and all(rest >= _remaining(chance, all_columns) for _, rest, _ in without)
    )
    # The mean of the discrepancy by chance is 1
    images = 1 / sum(map(len, parts)) + 1 / len(reference.columns.rows)
    kernels = (
        kernel >= discrepancy
        and (kernel - 1) * images >= _LEAST_KERNEL**2
        and all(rest >= _remaining(1.0, discrepancy) for _, _, rest in without)
    )
    order = np.argsort(-np.abs(errors), kind="stable")
    named: list[int] = [index for index in order.tolist() if far[index]]
    if (linear or kernels) and not named:
        named = order[:_NAMED].tolist()
    return Joint(
        differs=bool(named),
        columns=[reference.names[index] for index in named],
        largest=float(np.abs(errors).max()),
        largest_limit=one,
        distance=distance,
        distance_limit=all_columns,
        kernel=kernel,
        kernel_limit=discrepancy,
        effect=float(effect),
    )


def _measured(
    parts: Sequence[np.ndarray], waves: Sequence[np.ndarray], reference: Reference
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return the shift of each column, the same in errors, the distance, and the discrepancy."""
    shift, errors = reference.columns.shift(parts)
    _, waved = reference.waves.shift(waves)
    return shift, errors, _distance(errors, reference.ridged), float(waved**2 @ reference.weights)


def _without(index: int, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [*parts[:index], *parts[index + 1 :]]


def _remaining(chance: float, limit: float) -> float:
    """Return the value of a statistic that must remain without a window."""
    return chance + _WITHOUT * (limit - chance)


def _varies(values: np.ndarray) -> bool:
    if values.dtype == np.bool_:
        return column_tests.LEAST_SHARE <= values.mean() <= 1 - column_tests.LEAST_SHARE
    return float(values.std()) > 0


def _scaled(raw: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return np.clip((raw - mean) / deviation, -_OUTLIER, _OUTLIER)


def _distance(errors: np.ndarray, ridged: np.ndarray) -> float:
    return float(errors @ ridged @ errors)


def _directions(rows: np.ndarray) -> np.ndarray:
    """Return the directions of the waves, (C, waves), for a kernel as wide as the median distance of rows."""
    random = np.random.default_rng(_SEED)
    one, other = random.integers(len(rows), size=(2, _PAIRS))
    width = float(np.median(np.linalg.norm(rows[one] - rows[other], axis=1)))
    return random.standard_normal((rows.shape[1], _WAVES)) / (width or 1.0)


def _waves(rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return the waves of N rows, (N, 2 x waves)."""
    at = rows @ directions
    return np.concatenate([np.cos(at), np.sin(at)], axis=1)


def _expected(reference: Reference) -> float:
    """Return the distance that chance makes in the mean."""
    return float(np.trace(reference.ridged @ np.atleast_2d(np.corrcoef(reference.columns.rows.T))))


def _limits(
    rows: np.ndarray,
    waves: np.ndarray,
    people: np.ndarray | None,
    ridged: np.ndarray,
    weights: np.ndarray,
    alpha: float,
) -> tuple[float, float, float]:
    """Return the limits of all three statistics, by permuting blocks of the reference."""
    blocks = np.arange(len(rows)) if people is None else np.unique(people, return_inverse=True)[1]
    chosen = blocks < _AT_MOST * blocks.max(initial=1) / len(rows)  # whole blocks, in any order of the rows
    values = np.concatenate([rows, waves], axis=1)[chosen]
    sums = np.zeros((int(blocks[chosen].max()) + 1, values.shape[1]))
    np.add.at(sums, blocks[chosen], values - values.mean(axis=0))
    sums /= np.sqrt((sums**2).sum(axis=0))
    random = np.random.default_rng(_SEED)
    signs = random.integers(0, 2, (_PERMUTATIONS, len(sums)), np.int8) * np.int8(2) - np.int8(1)
    errors, waved = np.split(signs.astype(np.float32) @ sums.astype(np.float32), [rows.shape[1]], axis=1)
    distances = np.einsum("ri,ij,rj->r", errors, ridged, errors, optimize=True)
    return (
        float(np.quantile(np.abs(errors).max(axis=1), 1 - _LARGEST * alpha)),
        float(np.quantile(distances, 1 - _ALL * alpha)),
        float(np.quantile(waved**2 @ weights, 1 - _KERNEL * alpha)),
    )
