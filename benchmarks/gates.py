"""Simulate years of weekly releases through the gates: false refusals, and losses that add up.

    python -m benchmarks.gates
    python -m benchmarks.gates --update docs/gates.md

Forty attributes with error rates as on CelebA (10 % in the mean). Models err on much the same images: two
equal ones disagree in 4.6 % of the decisions; two models of this pipeline did in 4.8 % on photographs. Each
week `gitops.gates.gates` compares a candidate with the incumbent and with the best verified release, always
on one hold-out set. The p-values of differences come from a normal distribution instead of the bootstrap.
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
from gitops.gates.gates import ANCHORED, REGRESSION, Side, compared, earliest_of_the_best
from gitops.release.settings import Settings, load

WEEKS, YEARS = 52, 10
ATTRIBUTES = 40
# Shares of the rarer answer, and of wrong answers, from the rarest to the commonest attribute; 10 % are wrong
# in the mean. `Smiling` stands for an attribute as common as its absence with 7 % errors.
_PREVALENCE = np.linspace(0.02, 0.5, ATTRIBUTES)
_ERRORS = np.clip(np.linspace(0.008, 0.192, ATTRIBUTES), 0, 0.9 * _PREVALENCE)
SMILING = ATTRIBUTES - 1
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
        limits = np.where(
            self.truth, np.minimum(wrong_share / _PREVALENCE, 1 - 1e-9), wrong_share / (1 - _PREVALENCE)
        )
        wrong = self._hard + own < norm.ppf(limits)
        return Release(self.truth ^ wrong, loss, 1 - float(wrong.mean()))

    def compare(self, new: Release, old: Release) -> Comparison:
        """Return the result that `python -m face_attributes compare` would have."""
        right, before = (one.decisions == self.truth for one in (new, old))
        pairs = right.astype(np.float32) - before
        of_images = pairs.mean(axis=1)
        rows = [_row(right[:, index], before[:, index], pairs[:, index]) for index in range(ATTRIBUTES)]
        parts = [_row(right[group], before[group], of_images[group]) for group in self.groups]
        return Comparison.model_construct(
            mean_accuracy=Difference.model_construct(**_row(right, before, of_images)),
            per_attribute={
                str(index): AttributeDifference.model_construct(
                    **row, p_worse_holm=1.0, rare=self._rare(new, old, index)
                )
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

    def _rare(self, new: Release, old: Release, index: int) -> Rare:
        there, found, before = (one[:, index] for one in (self.truth, new.decisions, old.decisions))
        return Rare.model_construct(
            count=int(there.sum()),
            others=int((~there).sum()),
            found=int((found & there).sum()),
            false=int((found & ~there).sum()),
            incumbent_found=int((before & there).sum()),
            incumbent_false=int((before & ~there).sum()),
            lost=int((before & ~found & there).sum()),
            gained=int((found & ~before & there).sum()),
        )


def _row(right: np.ndarray, before: np.ndarray, pairs: np.ndarray) -> dict[str, Any]:
    difference = float(pairs.mean())
    error = float(pairs.std()) / np.sqrt(len(pairs))
    return {
        "accuracy": float(right.mean()),
        "incumbent": float(before.mean()),
        "difference": difference,
        "low": difference - 1.96 * error,
        "high": difference + 1.96 * error,
        "p_worse": float(norm.cdf(difference / error)) if error else float(difference >= 0),
    }


def year(world: World, step: np.ndarray, settings: Settings) -> tuple[int, np.ndarray, list[str]]:
    """Return the accepted candidates of a year, the true loss (A), and the reasons of refusals."""
    first = world.train(np.zeros(ATTRIBUTES))
    releases, refused = [first], []
    for _ in range(WEEKS):
        candidate = world.train(releases[-1].loss + step)
        best = earliest_of_the_best([(one.accuracy, one) for one in releases], settings.max_mean_loss)
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
    smiling = np.zeros(ATTRIBUTES)
    smiling[SMILING] = 0.01
    return {
        "nothing": np.zeros(ATTRIBUTES),
        "0.05 points in all": np.full(ATTRIBUTES, 0.0005),
        "0.1 points in all": np.full(ATTRIBUTES, 0.001),
        "1 point in Smiling": smiling,
    }


def interval(hits: int, of: int) -> tuple[float, float]:
    """Return the exact 95% interval of a share (Clopper and Pearson)."""
    low = float(beta.ppf(0.025, hits, of - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0


def tables(sizes: Sequence[int], years: int) -> dict[str, str]:
    """Return the table as Markdown, by the name of its place."""
    settings = load("dev")
    lines = [
        "| hold-out | a candidate truly loses | refused | mean lost in a year | lost in Smiling |",
        "|---:|---|---:|---:|---:|",
    ]
    for images in sizes:
        for name, step in steps().items():
            found = [year(World(images, seed), step, settings) for seed in range(years)]
            refused = WEEKS * years - sum(accepted for accepted, _, _ in found)
            low, high = interval(refused, WEEKS * years)
            means = [100 * float(loss.mean()) for _, loss, _ in found]
            smiling = [100 * float(loss[SMILING]) for _, loss, _ in found]
            cells = (
                f"{images:,}",
                name,
                f"{refused / WEEKS / years:.1%} ({low:.1%} to {high:.1%})",
                *(f"{np.mean(some):.2f} (at most {max(some):.2f})" for some in (means, smiling)),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return {"year": "\n".join(lines)}


def main() -> None:
    """Print the table, or write it into a document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", type=Path, metavar="DOCUMENT", help="write the table into this file")
    parser.add_argument("--years", type=int, default=YEARS, help=f"to simulate (default: {YEARS})")
    options = parser.parse_args()
    found = tables((814, 2000), options.years)
    if options.update:
        text = options.update.read_text(encoding="utf-8")
        options.update.write_text(updated(text, found), encoding="utf-8")
        return
    print("\n\n".join(found.values()))


if __name__ == "__main__":
    main()
