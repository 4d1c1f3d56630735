"""Parts of a hold-out set that a model may serve worse than the rest: by sex, age, skin and light."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

GROUPS = ("Male", "Young")  # attributes whose labels part the images, also both at once
SKIN = "Pale_Skin"
BRIGHTNESS = "brightness"
MINIMUM = 30  # images: fewer give no reliable accuracy


@dataclass(frozen=True)
class Slice:
    """A part of N images: its name, its criterion, and a bool array (N,) that selects the images."""

    name: str
    by: str
    images: np.ndarray


def terciles(brightness: np.ndarray) -> tuple[float, float]:
    """Return the brightness that a third of the images does not exceed, and that of two thirds."""
    low, high = np.quantile(brightness, (1 / 3, 2 / 3))
    return float(low), float(high)


def split(
    labels: Mapping[str, np.ndarray], brightness: np.ndarray, thirds: tuple[float, float] | None = None
) -> list[Slice]:
    """Part images by each of the GROUPS, by both at once, by SKIN, and in thirds by their brightness.

    Args:
        labels: bool arrays (N,) of the true attributes; a group that is not among them is left out.
        brightness: float array (N,).
        thirds: the brightness up to which an image is dark, and beyond which it is bright; without them a
            third of these very images is.

    """
    parts = []
    groups = [name for name in GROUPS if name in labels]
    for name in groups:
        parts += [Slice(name, name, labels[name]), Slice(f"not {name}", name, ~labels[name])]
    if len(groups) == len(GROUPS):
        by = " and ".join(groups)
        # The first four are the two parts of each group
        parts += [
            Slice(f"{one.name} and {other.name}", by, one.images & other.images)
            for one in parts[:2]
            for other in parts[2:4]
        ]
    if SKIN in labels:
        parts += [Slice(SKIN, SKIN, labels[SKIN]), Slice(f"not {SKIN}", SKIN, ~labels[SKIN])]
    low, high = terciles(brightness) if thirds is None else thirds
    dark, bright = brightness <= low, brightness > high
    by_light = {"dark": dark, "medium": ~dark & ~bright, "bright": bright}
    return parts + [Slice(name, BRIGHTNESS, images) for name, images in by_light.items()]


def accuracies(parts: Sequence[Slice], correct: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean accuracy in each of S parts under each of R weightings of the images, (R, S).

    NaN where no image of the part counts.

    Args:
        parts: the parts of N images.
        correct: float array (N,), the share of right answers about each image.
        weights: (R, N), how often an image counts.

    """
    inside = np.stack([part.images for part in parts], axis=1).astype(np.float64)
    rows = weights.astype(np.float64)
    counts = rows @ inside
    return np.divide(
        rows @ (inside * correct[:, None]), counts, out=np.full(counts.shape, np.nan), where=counts > 0
    )
