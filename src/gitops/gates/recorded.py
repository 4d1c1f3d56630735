"""Recorded decisions: two releases compared by the answers that their commits record, in plain Python.

Models, storage and code of neither release are needed. The images are those of the earlier hold-out set, all
of which the later one must still have: it may grow, and may not lose the images that show a loss.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from gitops.errors import ComparisonError
from gitops.gates import contradictions
from gitops.gates.comparison import Answers, AttributeDifference, Cell, Difference, Group, Rare, Slice
from gitops.gates.significance import p_below_zero, p_sign
from gitops.model.decisions import DIGEST_BYTES, EVERYBODY, Decisions
from gitops.model.evaluation import Evaluation
from gitops.release.forgotten import NOBODY, Forgotten
from gitops.release.snapshot import Snapshot

_Z = 1.96
_SLICE_MINIMUM = 30  # images, as for a comparison of models
_APART = 0.0005  # two accuracies of the same decisions, rounded


@dataclass(frozen=True)
class Records:
    """The decisions that commits record.

    Attributes:
        read: Returns the decisions that a commit records, or None.
        forgotten: The photographs that were deleted on request; their decisions do not count.

    """

    read: Callable[[str], Decisions | None]
    forgotten: Forgotten = NOBODY

    def of(self, release: Snapshot) -> Decisions | None:
        """Return those of a release; releases of earlier code recorded none.

        Raises:
            ComparisonError: if they do not belong to its evaluation.
            GateError: if they are not valid.

        """
        found = self.read(release.commit)
        if found is None:
            return None
        require(found, release.evaluation, release.holdout, release.commit)
        return found.without(self._forgotten)

    def forgotten_in(self, release: Snapshot) -> int:
        """Return how many of its images do not count, as far as it recorded any."""
        found = self.read(release.commit)
        return sum(digest in self._forgotten for digest in found.digests) if found else 0

    def lacking(self, one: Snapshot, other: Snapshot) -> int:
        """Return how many images of another release a release was not evaluated on; else as `of`.

        Releases of earlier code lack none that is known.
        """
        own, others = self.of(one), self.of(other)
        return len(set(others.digests) - set(own.digests)) if own and others else 0

    @cached_property
    def _forgotten(self) -> frozenset[bytes]:
        return frozenset(bytes.fromhex(one)[:DIGEST_BYTES] for one in self.forgotten.photographs)


def require(decisions: Decisions, claim: Evaluation, holdout: str | None, commit: str) -> None:
    """Refuse decisions that do not belong to the evaluation beside them.

    Raises:
        ComparisonError: if the model, the hold-out set, the accuracy, an attribute or a slice is another one.

    """
    parts = (claim.per_attribute.keys() ^ decisions.attributes) | (claim.slices.keys() - decisions.slices)
    if decisions.model_sha256 != claim.model_sha256:
        problem = "are those of another model"
    elif holdout is not None and decisions.holdout_md5 != holdout:
        problem = "are about another hold-out set"
    elif decisions.samples != claim.samples:
        problem = f"are about {decisions.samples} images, and the evaluation about {claim.samples}"
    elif abs(decisions.accuracy - claim.mean_accuracy) > _APART:
        problem = f"give the accuracy {decisions.accuracy:.4f}, and the evaluation {claim.mean_accuracy:.4f}"
    elif parts:
        problem = f"and the evaluation are not about the same attributes and slices: {min(parts)}"
    else:
        return
    raise ComparisonError(
        f"the decisions of {commit[:12]} {problem}; run: source .venv/bin/activate && dvc repro evaluate"
    )


def compare(model: Decisions, incumbent: Decisions) -> Answers:
    """Compare the decisions of two releases on the hold-out set of the incumbent.

    The true answers and the slices are those that the incumbent recorded: a candidate does not choose them.

    Raises:
        ComparisonError: if they have no attribute in common, or the model was evaluated without some of the
            images.

    """
    places = _places(model, incumbent)
    common = [name for name in model.attributes if name in incumbent.attributes]
    if not common:
        raise ComparisonError("the releases have no attribute in common")
    rows: dict[str, AttributeDifference] = {}
    differences = [0] * len(places)
    rights = [0, 0]
    packed: dict[str, tuple[int, int, int]] = {}
    for name in common:
        new, old = model.attributes[name], incumbent.attributes[name]
        column = model.bits(new.decisions)
        decided = [column[place] for place in places]
        truth, before = incumbent.bits(old.truth), incumbent.bits(old.decisions)
        right = [one == other for one, other in zip(decided, truth, strict=True)]
        was_right = [one == other for one, other in zip(before, truth, strict=True)]
        packed[name] = (_packed(truth), _packed(decided), _packed(before))
        pairs = [int(one) - int(other) for one, other in zip(right, was_right, strict=True)]
        differences = [total + pair for total, pair in zip(differences, pairs, strict=True)]
        rights = [rights[0] + sum(right), rights[1] + sum(was_right)]
        row = _difference(pairs, sum(right), sum(was_right))
        p = p_sign(pairs.count(-1), pairs.count(1))
        rows[name] = AttributeDifference(
            **row | {"p_worse": p}, p_worse_holm=p, rare=_rare(decided, before, truth)
        )
    attributes = len(common)
    means = [difference / attributes for difference in differences]
    slices: dict[str, Slice] = {}
    for name, part in incumbent.slices.items():
        inside = [mean for mean, counts in zip(means, incumbent.bits(part.images), strict=True) if counts]
        if len(inside) >= _SLICE_MINIMUM:
            row = _difference(inside, 0, 0)
            slices[name] = Slice(**row, p_worse_holm=row["p_worse"], by=part.by, count=len(inside))
    return Answers(
        model_sha256=model.model_sha256,
        incumbent_sha256=incumbent.model_sha256,
        samples=len(places),
        mean_accuracy=Difference(**_difference(means, rights[0] / attributes, rights[1] / attributes)),
        per_attribute=rows,
        slices=slices,
        only_model=[name for name in model.attributes if name not in common],
        only_incumbent=[name for name in incumbent.attributes if name not in common],
        groups=_groups(incumbent, packed),
        contradictions=contradictions.count({name: decided for name, (_, decided, _) in packed.items()}),
    )


def gain(one: Decisions, other: Decisions) -> float | None:
    """Return by how much the first model is more accurate on the images that both answered.

    The true answers are those that the release of each model records.

    Returns:
        The difference of the mean accuracies, or None if they share less than half of the smaller hold-out
        set, or no attribute.

    """
    names = [name for name in one.attributes if name in other.attributes]
    both = set(one.digests) & set(other.digests)
    if not names or 2 * len(both) < min(one.samples, other.samples):
        return None
    return _accuracy(one, names, both) - _accuracy(other, names, both)


def _accuracy(decisions: Decisions, names: Sequence[str], images: Set[bytes]) -> float:
    inside = [digest in images for digest in decisions.digests]
    mask = _packed(inside[::-1])  # the first image is the lowest bit
    wrong = sum((decisions.wrong(name) & mask).bit_count() for name in names)
    return 1 - wrong / (sum(inside) * len(names))


def _packed(values: Sequence[bool]) -> int:
    """Return a bit for each value."""
    return int("".join("1" if value else "0" for value in values), 2)


def _groups(incumbent: Decisions, packed: Mapping[str, tuple[int, int, int]]) -> dict[str, Group]:
    """Count the answers about all images and in each group; `packed` has truth, decisions and incumbent's."""
    everybody = (1 << incumbent.samples) - 1
    parts = [(EVERYBODY, "all", everybody)]
    parts += [
        (name, part.by, _packed(incumbent.bits(part.images))) for name, part in incumbent.slices.items()
    ]
    return {
        name: Group(
            by=by,
            per_attribute={
                attribute: _cell(images & truth, images & ~truth, decided, before)
                for attribute, (truth, decided, before) in packed.items()
                # The label that makes the group is the answer
                if name == EVERYBODY or attribute not in by.split(" and ")
            },
        )
        for name, by, images in parts
    }


def _cell(positives: int, negatives: int, decided: int, before: int) -> Cell:
    return Cell(
        positives=positives.bit_count(),
        negatives=negatives.bit_count(),
        found=(positives & decided).bit_count(),
        false=(negatives & decided).bit_count(),
        incumbent_found=(positives & before).bit_count(),
        incumbent_false=(negatives & before).bit_count(),
        lost=(positives & before & ~decided).bit_count(),
        gained=(positives & decided & ~before).bit_count(),
        spoilt=(negatives & decided & ~before).bit_count(),
        mended=(negatives & before & ~decided).bit_count(),
    )


def _places(model: Decisions, incumbent: Decisions) -> list[int]:
    """Return where the model's hold-out set has each image of the incumbent's."""
    found: dict[bytes, list[int]] = defaultdict(list)
    for place, digest in enumerate(reversed(model.digests)):
        found[digest].append(model.samples - 1 - place)
    lacking = 0
    places: list[int] = []
    for digest in incumbent.digests:
        if found[digest]:
            places.append(found[digest].pop())
        else:
            lacking += 1
    if lacking:
        raise ComparisonError(
            f"{lacking} of the {incumbent.samples} images that {incumbent.model_sha256[:12]} was judged by "
            "are not in the hold-out set any more, and the models are not compared here"
        )
    return places


def _difference(values: Sequence[float], right: float, was_right: float) -> dict[str, float]:
    count = len(values)
    mean = sum(values) / count
    error = (sum((value - mean) ** 2 for value in values) / count / count) ** 0.5
    return {
        "accuracy": right / count,
        "incumbent": was_right / count,
        "difference": mean,
        "low": max(mean - _Z * error, -1.0),
        "high": min(mean + _Z * error, 1.0),
        "p_worse": p_below_zero(mean, error),
    }


def _rare(decided: Sequence[bool], before: Sequence[bool], truth: Sequence[bool]) -> Rare:
    rarer = 2 * sum(truth) <= len(truth)
    rows = [
        (one == rarer, other == rarer)
        for one, other, true in zip(decided, before, truth, strict=True)
        if true == rarer
    ]
    others = [
        (one == rarer, other == rarer)
        for one, other, true in zip(decided, before, truth, strict=True)
        if true != rarer
    ]
    return Rare(
        count=len(rows),
        others=len(others),
        found=sum(one for one, _ in rows),
        false=sum(one for one, _ in others),
        incumbent_found=sum(other for _, other in rows),
        incumbent_false=sum(other for _, other in others),
        lost=rows.count((False, True)),
        gained=rows.count((True, False)),
    )
