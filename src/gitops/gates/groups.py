"""Gates about groups of people, rare attributes and contradictions, from counts of answers.

The accuracy of an attribute hides its yes and no, and so do the accuracies of groups: half of the images with
an attribute may be lost in one group while the accuracy stays. So these gates count yes and no apart.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import hypot, sqrt

from gitops.gates.comparison import Answers, Cell
from gitops.gates.result import GateResult
from gitops.gates.significance import beyond, holm, p_below_zero, p_sign, wilson
from gitops.model.decisions import EVERYBODY

# Shares of the error rate of a decision; `gitops.gates.gates` has those of the other tests
RISE_ALPHA = RARE_ALPHA = GAP_ALPHA = CONTRADICTIONS_ALPHA = 0.0025

MINIMUM = 30
"""The images that a rate needs."""
RARE = 0.1
"""An attribute is rare if at most this share of the images has its rarer answer."""
_FEW = 3

WORSE, RARE_WORSE, GAP, CONTRADICTIONS = (
    "no group worse",
    "no rare attribute worse",
    "no group left out",
    "no contradictions",
)

Compared = tuple[str, Answers]
"""How rows call the other release, and the comparison with it."""


@dataclass(frozen=True)
class Paired:
    """The right answers of two models about the same images: how many the model lost and gained."""

    images: int
    lost: int
    gained: int

    @property
    def change(self) -> float:
        return (self.gained - self.lost) / self.images

    @property
    def error(self) -> float:
        """The standard error of the change."""
        return sqrt(max((self.lost + self.gained) / self.images - self.change**2, 0) / self.images)

    def without(self, part: "Paired") -> "Paired":
        return Paired(self.images - part.images, self.lost - part.lost, self.gained - part.gained)


def _yes(cell: Cell) -> Paired:
    return Paired(cell.positives, cell.lost, cell.gained)


def _no(cell: Cell) -> Paired:
    return Paired(cell.negatives, cell.spoilt, cell.mended)


_KINDS: tuple[tuple[str, Callable[[Cell], Paired]], ...] = (("yes", _yes), ("no", _no))


@dataclass(frozen=True)
class _Loss:
    """A loss that is tested: its name, its size, its standard error and its p-value."""

    name: str
    change: float
    error: float
    p: float


def relative(answers: Sequence[Compared], limit: float) -> list[GateResult]:
    """Return the row of groups for which the model got worse, compared with everybody else.

    For each attribute and group, the images with the attribute and those without it are tested apart. The
    group must have lost answers (sign test), and more of them than everybody else did (normal test of the
    difference of both changes): a model that answers yes more rarely to everybody leaves no group behind. A
    test takes the larger p-value. Without counts there is no row.

    Args:
        answers: The comparisons.
        limit: MAX_GAP_RISE, the permitted loss of a rate compared with everybody else.

    """
    losses = [loss for name, one in answers for loss in _relative_losses(name, one)]
    return _row(WORSE, answers, losses, RISE_ALPHA, limit, "no loss compared with everybody else")


def _relative_losses(against: str, answers: Answers) -> Iterator[_Loss]:
    everybody = answers.groups.get(EVERYBODY)
    if everybody is None:
        return
    for group, part in answers.groups.items():
        if group == EVERYBODY:
            continue
        for attribute, cell in part.per_attribute.items():
            for kind, of in _KINDS:
                here = of(cell)
                rest = of(everybody.per_attribute[attribute]).without(here)
                if min(here.images, rest.images) < MINIMUM:
                    continue
                difference, error = here.change - rest.change, hypot(here.error, rest.error)
                p = p_below_zero(difference, error)
                if p <= RISE_ALPHA:
                    p = max(p, p_sign(here.lost, here.gained))
                name = f"{attribute} of {group}: {kind} found {here.change:+.4f}, others {rest.change:+.4f}"
                yield _Loss(f"{name}{against}", difference, error, p)


def rare(answers: Sequence[Compared], limit: float) -> list[GateResult]:
    """Return the row of rare attributes with a lower balanced accuracy. Without counts there is no row.

    The accuracy of a rare attribute is nearly that of its rarest answer never given. The balanced accuracy
    counts both answers alike.

    Args:
        answers: The comparisons.
        limit: MAX_BALANCED_LOSS.

    """
    losses = [loss for name, one in answers for loss in _rare_losses(name, one)]
    limits = f"no loss of balanced accuracy where at most {RARE:.0%} have the rarer answer"
    return _row(RARE_WORSE, answers, losses, RARE_ALPHA, limit, limits)


def _rare_losses(against: str, answers: Answers) -> Iterator[_Loss]:
    everybody = answers.groups.get(EVERYBODY)
    for attribute, cell in everybody.per_attribute.items() if everybody else ():
        sides = _yes(cell), _no(cell)
        images = [side.images for side in sides]
        if min(images) < MINIMUM or min(images) > RARE * sum(images):
            continue
        change = (sides[0].change + sides[1].change) / 2
        error = hypot(sides[0].error, sides[1].error) / 2
        p = p_below_zero(change, error)
        if p <= RARE_ALPHA:
            most = min(sides, key=lambda side: side.change)
            p = max(p, p_sign(most.lost, most.gained))
        yield _Loss(f"{attribute}{against}", change, error, p)


def _row(
    gate: str, answers: Sequence[Compared], losses: Sequence[_Loss], alpha: float, limit: float, text: str
) -> list[GateResult]:
    if not any(one.groups for _, one in answers):
        return []
    p_values = holm([loss.p for loss in losses])
    worse = sorted(
        (p, f"{loss.name} ({loss.change:+.4f}, p {p:.2g})")
        for p, loss in zip(p_values, losses, strict=True)
        if p <= alpha and loss.change - beyond(alpha / len(losses)) * loss.error < -limit
    )
    shown = [text for _, text in worse[:_FEW]] or [f"none in {len(losses)} tests"]
    if len(worse) > _FEW:
        shown.append(f"{len(worse) - _FEW} more")
    most = f" that may exceed {limit:g}" if limit else ""
    return [GateResult(gate, ", ".join(shown), f"{text}{most}, at p up to {alpha} (Holm)", "", not worse)]


def absolute(answers: Answers, most_gap: float, most_contradictions: float) -> list[GateResult]:
    """Return the rows about the model alone. Without counts there are none.

    Args:
        answers: Its answers, beside those of any other model.
        most_gap: MAX_TPR_GAP.
        most_contradictions: MAX_CONTRADICTIONS.

    """
    rows: list[GateResult] = []
    if EVERYBODY in answers.groups:
        rows.append(_gap(answers, most_gap))
    if answers.contradictions is not None:
        rate = answers.contradictions / answers.samples
        low, _ = wilson(answers.contradictions, answers.samples, beyond(CONTRADICTIONS_ALPHA))
        value = f"{rate:.2%} of {answers.samples:,} images"
        limit = f"surely at most {most_contradictions:.2%}"
        rows.append(GateResult(CONTRADICTIONS, value, limit, "", low <= most_contradictions))
    return rows


def _gap(answers: Answers, limit: float) -> GateResult:
    """Return the row of the groups whose true positive rate is surely too far below that of the others.

    The interval of the difference is that of Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10,
    at a confidence that counts the number of tests (Bonferroni).
    """
    whole = answers.groups[EVERYBODY].per_attribute
    pairs = [
        (attribute, group, cell, whole[attribute])
        for group, part in answers.groups.items()
        if group != EVERYBODY
        for attribute, cell in part.per_attribute.items()
        if min(cell.positives, whole[attribute].positives - cell.positives) >= MINIMUM
    ]
    z = beyond(GAP_ALPHA / max(len(pairs), 1))
    gaps: list[tuple[float, float, str]] = []
    for attribute, group, cell, everybody in pairs:
        positives, found = everybody.positives - cell.positives, everybody.found - cell.found
        here, there = cell.found / cell.positives, found / positives
        low = (
            there
            - here
            - hypot(there - wilson(found, positives, z)[0], wilson(cell.found, cell.positives, z)[1] - here)
        )
        gaps.append((low, there - here, f"{attribute} of {group} ({here:.2f} found, others {there:.2f})"))
    beyond_limit = sorted((gap for gap in gaps if gap[0] > limit), key=lambda gap: -gap[1])
    shown = [name for _, _, name in beyond_limit[:_FEW]]
    if len(beyond_limit) > _FEW:
        shown.append(f"{len(beyond_limit) - _FEW} more")
    if not shown:
        largest = max(gaps, key=lambda gap: gap[1], default=None)
        shown = [f"largest gap {largest[1]:.2f}: {largest[2]}" if largest else "too few images"]
    text = f"true positive rates surely at most {limit:g} below those of everybody else"
    return GateResult(GAP, ", ".join(shown), text, "", not beyond_limit)
