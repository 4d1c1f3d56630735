"""Joint test: whether all columns of all windows together differ from the reference.

A column drifts by itself where it differs in two windows, each tested alone. A small change of many images,
such as ten points more men, is too small for a window and shows in the whole period. So this test compares
the means of the columns over all windows, in two ways: the largest shift of a column, and a linear
two-sample test of all columns at once (Hotelling's T², with a ridge, as columns resemble each other).

How far chance moves them is learned from the reference by permutation: the deviation of each block of the
reference gets a random sign, as if it could as well have been among the scored images. A block is all images
of one person, or an image where nobody is on two images. Other people add a variance to each column, as in
`limits`. One bad window is an incident, so the test must hold without the window that speaks most for it.

Sources: Hotelling, The Generalization of Student's Ratio, Annals of Mathematical Statistics 2 (1931);
Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017 (arXiv:1610.06545).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from face_attributes.monitoring import column_tests, limits

ALPHA = 0.01
"""How often chance and other people may make the joint test differ, in a check."""
_LARGEST, _ALL = 0.75, 0.25  # their shares of ALPHA
_PERMUTATIONS, _SEED = 4000, 1
_AT_MOST = 5000  # rows of the reference that are permuted
_PEOPLE = 30  # at least, of a reference
_RIDGE = 1.0  # variances of a column
_OUTLIER = 4.0  # standard deviations: values further off count as this far
# A shift that stays has most of its size without any one window; an incident has little
_WITHOUT = 0.8
# Rows of the reference for each column: the correlations of fewer are too uncertain for a test of all columns
_ROWS_EACH = 5
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
        effect: The distance of the means, in standard deviations, without the part that chance adds.

    """

    differs: bool
    columns: list[str]
    largest: float
    largest_limit: float
    distance: float
    distance_limit: float
    effect: float

    def note(self) -> dict[str, object]:
        """Return the test as JSON has it."""
        return {
            name: round(value, _DIGITS) if isinstance(value, float) else value
            for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class Reference:
    """A reference as the joint test needs it: C columns that vary, in standard deviations.

    Attributes:
        names: of the columns.
        mean: of each column, (C,), and
        deviation: its standard deviation, (C,).
        rows: the values, float (M, C).
        least: the shift of each column that matters, (C,), in standard deviations.
        people: the variance that other people add to each column, (C,), see `limits.between`.
        limits: of the largest shift, and of the distance.
        ridged: the inverse of the correlations and the ridge, (C, C).

    """

    names: Sequence[str]
    mean: np.ndarray
    deviation: np.ndarray
    rows: np.ndarray
    least: np.ndarray
    people: np.ndarray
    limits: tuple[float, float]
    ridged: np.ndarray

    @classmethod
    def of(
        cls, columns: Mapping[str, np.ndarray], people: np.ndarray | None, alpha: float = ALPHA
    ) -> "Reference | None":
        """Learn the limits from the columns of a reference, each (M,), and the person on each image.

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
        added = np.array([limits.between(values, people) for values in chosen.values()])
        found = _limits(rows, people, ridged, alpha)
        return cls(list(chosen), mean, deviation, rows, least, added, found, ridged)

    def shift(self, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the shift of each column of N images (N, C): in standard deviations, and in errors."""
        shift = found.mean(axis=0) - self.rows.mean(axis=0)
        images = 1 / len(found) + 1 / len(self.rows)
        spread = (self.rows.var(axis=0) + found.var(axis=0)) / 2
        return shift, shift / np.sqrt(images * spread + self.people)


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
    shift, errors = reference.shift(np.concatenate(parts))
    distance = _distance(errors, reference.ridged)
    one, all_columns = reference.limits
    # The share of the distance beyond the distance that chance makes
    chance = _expected(reference)
    beyond = max(0.0, 1 - chance / distance) if distance else 0.0
    effect = np.sqrt(beyond * _distance(shift, reference.ridged))
    without = [
        reference.shift(np.concatenate([*parts[:index], *parts[index + 1 :]]))[1]
        for index in range(len(parts))
        if len(parts) > 1
    ]
    far = (np.abs(errors) >= one) & (np.abs(shift) >= reference.least)
    for others in without:
        far &= np.sign(errors) * others >= _WITHOUT * one
    enough = len(reference.rows) >= _ROWS_EACH * len(reference.names)
    together = enough and distance >= all_columns and effect >= limits.LEAST
    least = chance + _WITHOUT * (all_columns - chance)
    together &= all(_distance(others, reference.ridged) >= least for others in without)
    order = np.argsort(-np.abs(errors), kind="stable")
    named: list[int] = [index for index in order.tolist() if far[index]]
    if together and not named:
        named = order[:_NAMED].tolist()
    return Joint(
        differs=bool(named),
        columns=[reference.names[index] for index in named],
        largest=float(np.abs(errors).max()),
        largest_limit=one,
        distance=distance,
        distance_limit=all_columns,
        effect=float(effect),
    )


def _varies(values: np.ndarray) -> bool:
    if values.dtype == np.bool_:
        return column_tests.LEAST_SHARE <= values.mean() <= 1 - column_tests.LEAST_SHARE
    return float(values.std()) > 0


def _scaled(raw: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return np.clip((raw - mean) / deviation, -_OUTLIER, _OUTLIER)


def _distance(errors: np.ndarray, ridged: np.ndarray) -> float:
    return float(errors @ ridged @ errors)


def _expected(reference: Reference) -> float:
    """Return the distance that chance makes in the mean."""
    return float(np.trace(reference.ridged @ np.atleast_2d(np.corrcoef(reference.rows.T))))


def _limits(
    rows: np.ndarray, people: np.ndarray | None, ridged: np.ndarray, alpha: float
) -> tuple[float, float]:
    """Return the limits of the largest shift and of the distance, by permuting blocks of the reference."""
    blocks = np.arange(len(rows)) if people is None else np.unique(people, return_inverse=True)[1]
    chosen = blocks < _AT_MOST * blocks.max(initial=1) / len(rows)  # whole blocks, in any order of the rows
    sums = np.zeros((int(blocks[chosen].max()) + 1, rows.shape[1]))
    np.add.at(sums, blocks[chosen], rows[chosen] - rows[chosen].mean(axis=0))
    sums /= np.sqrt((sums**2).sum(axis=0))
    random = np.random.default_rng(_SEED)
    signs = random.integers(0, 2, (_PERMUTATIONS, len(sums)), np.int8) * np.int8(2) - np.int8(1)
    errors = signs.astype(np.float32) @ sums.astype(np.float32)
    distances = np.einsum("ri,ij,rj->r", errors, ridged, errors, optimize=True)
    return (
        float(np.quantile(np.abs(errors).max(axis=1), 1 - _LARGEST * alpha)),
        float(np.quantile(distances, 1 - _ALL * alpha)),
    )
