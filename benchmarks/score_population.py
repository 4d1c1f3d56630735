"""Simulated scores: the columns that a model of forty attributes gives for images of a population of people.

Faces are not drawn and no model runs, so a thousand weeks take minutes. Each image has factors, partly those
of its person. They make correlated attributes, of which the model sees a noisy part, an embedding and image
statistics. On average 92 % of the decisions are right, as on photographs.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from benchmarks.weeks import Columns

ATTRIBUTES, _FACTORS, _EMBEDDING, _STATISTICS = 40, 14, 8, 6
_COMMON = 0.75  # share of the variance of an attribute that the factors make
_NOISE, _STEEPNESS = 0.35, 3.5


@dataclass(frozen=True)
class Images:
    """Images: true attributes (bool, N x A), columns as in a file of scores, and the person on each (N)."""

    labels: np.ndarray
    columns: Columns
    people: np.ndarray

    def __len__(self) -> int:
        return len(self.people)

    def rows(self, chosen: np.ndarray) -> Columns:
        """Return the columns of some of the images."""
        return {name: values[chosen] for name, values in self.columns.items()}


class Population:
    """People whose images are alike, and a model."""

    def __init__(self, seed: int) -> None:
        """Draw the attributes: how they hang together, and how much of each belongs to the person."""
        random = np.random.default_rng(seed)
        loadings = random.normal(size=(_FACTORS, ATTRIBUTES))
        self._loadings = loadings / np.linalg.norm(loadings, axis=0)
        self.shares = np.clip(random.permutation(np.linspace(0.03, 0.6, ATTRIBUTES)), 0.03, 0.6)
        self._of_person = random.permutation(np.linspace(0.25, 0.98, _FACTORS))
        self._projection = random.normal(size=(ATTRIBUTES + _STATISTICS, _EMBEDDING))
        self._projection /= np.sqrt(len(self._projection))

    def attribute(self, share: float) -> int:
        """Return the attribute whose share of images is nearest."""
        return int(np.argmin(abs(self.shares - share)))

    def images(
        self, random: np.random.Generator, people: int, each: int = 1, light: float = 0, alike: float = 1
    ) -> Images:
        """Return images of a group of people.

        Args:
            random: Draws them.
            people: How many there are.
            each: Images of each.
            light: Standard deviations by which they are brighter.
            alike: The variance between the means of such groups, times that of groups of random people.

        """

        def of_person(columns: int) -> np.ndarray:
            effects = random.normal(size=(people, columns))
            if alike > 1:
                effects += random.normal(size=columns) * np.sqrt((alike - 1) / people)
            return effects.repeat(each, axis=0)

        def of_image(columns: int) -> np.ndarray:
            return random.normal(size=(people * each, columns))

        factors = of_person(_FACTORS) * np.sqrt(self._of_person)
        factors += of_image(_FACTORS) * np.sqrt(1 - self._of_person)
        own = 0.8 * of_person(ATTRIBUTES) + 0.6 * of_image(ATTRIBUTES)
        there = np.sqrt(_COMMON) * factors @ self._loadings + np.sqrt(1 - _COMMON) * own
        there -= norm.isf(self.shares)
        seen = there + _NOISE * of_image(ATTRIBUTES)
        statistics = of_image(_STATISTICS)
        statistics[:, 1] = 0.6 * statistics[:, 0] + 0.8 * statistics[:, 1]
        statistics[:, 0] += 0.3 * factors[:, 0] + light
        embedding = np.concatenate([seen, statistics], axis=1) @ self._projection
        scores = expit(np.clip(_STEEPNESS * seen, -8, 8)).astype(np.float32)
        columns = {f"{number}_score": column for number, column in enumerate(scores.T)}
        columns |= {f"{number}": column >= 0.5 for number, column in enumerate(scores.T)}
        columns |= {
            f"embedding_{number}": column for number, column in enumerate(embedding.T.astype(np.float32))
        }
        columns |= {
            f"statistic_{number}": column for number, column in enumerate(statistics.T.astype(np.float32))
        }
        return Images(there > 0, columns, np.arange(people).repeat(each))


def tilted(
    random: np.random.Generator, images: Images, count: int, attribute: int, share: float
) -> np.ndarray:
    """Choose `count` of the images so that an attribute has another share."""
    yes, no = (np.flatnonzero(images.labels[:, attribute] == value) for value in (True, False))
    found = random.binomial(count, share)
    return np.concatenate([random.choice(yes, found), random.choice(no, count - found)])
