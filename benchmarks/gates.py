"""Simulate years of weekly releases through the gates: false refusals, and losses that add up.

    python -m benchmarks.gates
    python -m benchmarks.gates --update benchmarks/results/gates.md

Forty attributes with error rates as on CelebA (10 % in the mean). Models err on much the same images: two
equal ones disagree in 4.6 % of the decisions; two models of this pipeline did in 4.8 % on photographs. Each
week `gitops.gates.gates` compares a candidate with the incumbent and with the best verified release, always
on one hold-out set. All differences have the normal test, also those of attributes.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta, norm

from benchmarks.population import updated
from face_attributes.evaluation import groups, slices
from gitops.gates.anchors import earliest_of_the_best
from gitops.gates.comparison import (
    AttributeDifference,
    Cell,
    Comparison,
    Difference,
    Group,
    Latency,
    Rare,
    Size,
    Slice,
)
from gitops.gates.rows import ANCHORED, REGRESSION, Side, compared
from gitops.release.settings import Settings, load

WEEKS, YEARS = 52, 20
SIZES = 814, 2000, 3500  # images; the last are about as many as params.yaml has
ROUNDING = 1e-9
ATTRIBUTES = 40
# Shares of the rarer answer, and of wrong answers, from the rarest to the commonest attribute; 10 % are wrong
# in the mean. `Smiling` stands for an attribute as common as its absence with 7 % errors.
_PREVALENCE = np.linspace(0.02, 0.5, ATTRIBUTES)
_ERRORS = np.clip(np.linspace(0.008, 0.192, ATTRIBUTES), 0, 0.9 * _PREVALENCE)
SMILING, WORST = ATTRIBUTES - 1, ATTRIBUTES - 2
_ERRORS[SMILING] = 0.07
# Shares of variance: of the image, of the image and attribute, and of the model (the rest)
_IMAGE, _DECISION = 0.15, 0.78
_MODEL_IMAGE = 0.004


@dataclass(frozen=True)
class Release:
    """A model: its decisions (bool, N x A), its accuracy, and its true loss (A)."""

    decisions: np.ndarray
    loss: np.ndarray
    accuracy: float


class World:
    """A hold-out set of `images`, and models that answer it."""

    def __init__(self, images: int, seed: int) -> None:
        """Draw the hold-out set."""
        self._random = np.random.default_rng(seed)
        self.truth = self._random.random((images, ATTRIBUTES)) < _PREVALENCE
        each = self._random.normal(size=(images, 1))
        decisions = self._random.normal(size=(images, ATTRIBUTES))
        self._hard = np.sqrt(_IMAGE) * each + np.sqrt(_DECISION) * decisions
        sexes, ages = (self._random.random(images) < share for share in (0.42, 0.77))
        third = self._random.integers(3, size=images)
        groups = [sexes, ~sexes, ages, ~ages, sexes & ages, sexes & ~ages, ~sexes & ages, ~sexes & ~ages]
        self.groups = [*groups, *(third == number for number in range(3))]

    def train(self, loss: np.ndarray) -> Release:
        """Return a model that truly loses these accuracies (A)."""
        images = len(self.truth)
        rest = 1 - _IMAGE - _DECISION - _MODEL_IMAGE
        own = np.sqrt(_MODEL_IMAGE) * self._random.normal(size=(images, 1))
        own = own + np.sqrt(rest) * self._random.normal(size=(images, ATTRIBUTES))
        wrong_share = np.clip(_ERRORS + loss, 1e-6, None) / 2
        there, not_there = (
            norm.ppf(np.minimum(wrong_share / share, 1 - 1e-9)) for share in (_PREVALENCE, 1 - _PREVALENCE)
        )
        wrong = self._hard + own < np.where(self.truth, there, not_there)
        return Release(self.truth ^ wrong, loss, 1 - float(wrong.mean()))

    def compare(self, new: Release, old: Release) -> Comparison:
        """Return the result that `python -m face_attributes compare` would have."""
        right, before = (one.decisions == self.truth for one in (new, old))
        pairs = right.astype(np.float32) - before
        of_images = pairs.mean(axis=1)
        mean, *parts = _rows(of_images, [np.ones(len(right), bool), *self.groups])
        rows = _rows(pairs.T, [np.ones(len(right), bool)])
        found = self._rare(new, old)
        return Comparison.model_construct(
            mean_accuracy=Difference.model_construct(**mean),
            per_attribute={
                str(index): AttributeDifference.model_construct(**row, p_worse_holm=1.0, rare=found[index])
                for index, row in enumerate(rows)
            },
            slices={
                str(number): Slice.model_construct(**row, p_worse_holm=1.0, by="", count=1)
                for number, row in enumerate(parts)
            },
            groups={
                name: Group.model_construct(
                    by=row["by"],
                    per_attribute={
                        attribute: Cell.model_construct(**cell)
                        for attribute, cell in row["per_attribute"].items()
                    },
                )
                for name, row in self._counts(new, old).items()
            },
            contradictions=None,
            samples=len(self.truth),
            only_incumbent=[],
            latency={"batch_1": Latency(p50_ms=1, incumbent_p50_ms=1, ratio=1, ratio_low=1, ratio_high=1)},
            size=Size(bytes=1, incumbent_bytes=1, ratio=1),
        )

    def _counts(self, new: Release, old: Release) -> dict[str, Any]:
        everybody = np.ones(len(self.truth), bool)
        parts = [slices.Slice(str(number), "", group) for number, group in enumerate(self.groups)]
        return groups.counts(
            [str(index) for index in range(ATTRIBUTES)],
            new.decisions,
            old.decisions,
            self.truth,
            [slices.Slice(groups.EVERYBODY, "all", everybody), *parts],
        )

    def _rare(self, new: Release, old: Release) -> list[Rare]:
        there, found, before = self.truth, new.decisions, old.decisions
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
        sums = {name: images.sum(axis=0).tolist() for name, images in counts.items()}
        return [
            Rare.model_construct(**{name: values[index] for name, values in sums.items()})
            for index in range(ATTRIBUTES)
        ]


def _rows(pairs: np.ndarray, parts: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Return a row for each part of the images, or for each attribute of pairs (A, N)."""
    counts = np.array([part.sum() for part in parts])
    means = np.array([pairs[..., part].mean(axis=-1) for part in parts]).ravel().astype(float)
    deviations = np.array([pairs[..., part].std(axis=-1) for part in parts]).ravel().astype(float)
    errors = deviations / np.sqrt(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values = np.where(errors > 0, norm.cdf(means / errors), means >= 0)
    return [
        {
            "accuracy": 1.0 + min(mean, 0.0),
            "incumbent": 1.0 - max(mean, 0.0),
            "difference": mean,
            "low": mean - 1.96 * error,
            "high": mean + 1.96 * error,
            "p_worse": p,
        }
        for mean, error, p in zip(means.tolist(), errors.tolist(), p_values.tolist(), strict=True)
    ]


def year(world: World, step: np.ndarray, settings: Settings) -> tuple[int, np.ndarray, list[str]]:
    """Return the accepted candidates of a year, the true loss (A), and the reasons of refusals."""
    first = world.train(np.zeros(ATTRIBUTES))
    releases, refused = [first], []
    for _ in range(WEEKS):
        candidate = world.train(releases[-1].loss + step)
        best = earliest_of_the_best(
            releases, settings.max_mean_loss, lambda one, other: one.accuracy - other.accuracy
        )
        sides = [Side(REGRESSION, "the incumbent", world.compare(candidate, releases[-1]))]
        if best is not releases[-1]:
            side = world.compare(candidate, best)
            sides.append(Side(ANCHORED, "the best release", side))
        failed = [row.gate for row in compared(sides, settings) if not row.ok]
        if failed:
            refused += failed[:1]
        else:
            releases.append(candidate)
    return len(releases) - 1, releases[-1].loss, refused


def refusals(world: World, candidates: int, settings: Settings) -> int:
    """Return how many candidates are refused that are equal to the incumbent and to the best release."""
    refused = 0
    for _ in range(candidates):
        candidate, incumbent, best = (world.train(np.zeros(ATTRIBUTES)) for _ in range(3))
        sides = [
            Side(REGRESSION, "the incumbent", world.compare(candidate, incumbent)),
            Side(ANCHORED, "the best release", world.compare(candidate, best)),
        ]
        refused += not all(row.ok for row in compared(sides, settings))
    return refused


def steps() -> dict[str, np.ndarray]:
    """Return the true loss of a candidate in each attribute, by scenario."""

    def one(attribute: int, points: float) -> np.ndarray:
        return np.where(np.arange(ATTRIBUTES) == attribute, points / 100, 0.0)

    return {
        "nothing": np.zeros(ATTRIBUTES),
        "0.05 points in all": np.full(ATTRIBUTES, 0.0005),
        "0.1 points in all": np.full(ATTRIBUTES, 0.001),
        "1 point in Smiling": one(SMILING, 1),
        "0.5 points in the worst": one(WORST, 0.5),
        "1 point in the worst": one(WORST, 1),
    }


def interval(hits: int, of: int) -> tuple[float, float]:
    """Return the exact 95% interval of a share (Clopper and Pearson)."""
    low = float(beta.ppf(0.025, hits, of - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0


def tables(sizes: Sequence[int], years: int, candidates: int) -> dict[str, str]:
    """Return the tables as Markdown, by the names of their places."""
    settings = load("dev")
    lines = [
        "| hold-out | a candidate truly loses | refused | mean lost in a year | attribute lost most "
        "| years over the goal |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for images in sizes:
        for name, step in steps().items():
            found = [year(World(images, seed), step, settings) for seed in range(years)]
            refused = WEEKS * years - sum(accepted for accepted, _, _ in found)
            means = np.array([loss.mean() for _, loss, _ in found])
            most = np.array([loss.max() for _, loss, _ in found])
            over = (means > settings.max_mean_loss + ROUNDING) | (
                most > settings.max_attribute_loss + ROUNDING
            )
            cells = (
                f"{images:,}",
                name,
                _share(refused, WEEKS * years),
                *(f"{100 * some.mean():.2f} (at most {100 * some.max():.2f})" for some in (means, most)),
                f"{over.sum()} of {years}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    equal = ["| hold-out | candidates | refused |", "|---:|---:|---:|"]
    for images in (400, *sizes):
        refused = refusals(World(images, 1), candidates, settings)
        equal.append(f"| {images:,} | {candidates:,} | {_share(refused, candidates)} |")
    return {"year": "\n".join(lines), "equal": "\n".join(equal)}


def _share(hits: int, of: int) -> str:
    low, high = interval(hits, of)
    return f"{hits / of:.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    """Print the table, or write it into a document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", type=Path, metavar="DOCUMENT", help="write the table into this file")
    parser.add_argument("--years", type=int, default=YEARS, help=f"to simulate (default: {YEARS})")
    parser.add_argument(
        "--candidates", type=int, default=1000, help="that are equal, to simulate (default: 1000)"
    )
    options = parser.parse_args()
    found = tables(SIZES, options.years, options.candidates)
    if options.update:
        text = options.update.read_text(encoding="utf-8")
        options.update.write_text(updated(text, found), encoding="utf-8")
        return
    print("\n\n".join(found.values()))


if __name__ == "__main__":
    main()
