"""Anchors: releases that a candidate is compared with, beside the incumbent."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import NamedTuple, TypeVar

from gitops.errors import ComparisonError, GateError, SettingsError
from gitops.gates import recorded
from gitops.gates.recorded import Records
from gitops.model.decisions import Decisions
from gitops.release.settings import Settings, path_of
from gitops.release.snapshot import Snapshot
from gitops.release.verdicts import Verdict

_Release = TypeVar("_Release")


class _Verified(NamedTuple):
    accuracy: float
    release: Snapshot
    holdout: str | None


def best(
    model: Snapshot,
    verified: Iterable[Verdict],
    releases: Mapping[str, Snapshot],
    margin: float,
    decisions: Callable[[str], Decisions | None],
) -> Snapshot | None:
    """Return the best release that an environment verified, or None if it has not verified a release.

    Measured accuracies rank releases with the same hold-out set. Recorded decisions about the images of both
    sets rank the others, and a release without valid decisions ranks below a release that has them: a change
    that leaves them out must not replace the measure of later changes.

    A release counts if it learnt from the same source of data as the model, and its `dvc.lock` can be read.

    Args:
        model: The release that is judged.
        verified: The verdicts of the environment, oldest first.
        releases: The verified releases that are here.
        margin: MAX_MEAN_LOSS.
        decisions: Returns the decisions that a commit records, or None if it has no such file.

    """
    candidates: list[_Verified] = []
    for verdict in verified:
        release, accuracy = releases.get(verdict.release), verdict.measured_accuracy
        if release is not None and accuracy is not None and release.source == model.source:
            with suppress(GateError):
                candidates.append(_Verified(accuracy, release, release.holdout))
    if not candidates:
        return None
    return earliest_of_the_best(candidates, margin, partial(_gain, Records(cache(decisions)))).release


def named(release: Snapshot | None, settings: Settings) -> Snapshot | None:
    """Return the release that ANCHOR_RELEASE names, or None if the setting is empty.

    Args:
        release: The commit with that id, or None if the repository does not have it.
        settings: The settings of the environment.

    Raises:
        SettingsError: if the repository does not have the commit that the setting names.

    """
    if settings.anchor_release and not release:
        problem = f"ANCHOR_RELEASE: {settings.anchor_release[:12]} is no commit of this repository"
        raise SettingsError(
            path_of(settings.visage_environment), problem, "name a release, or leave it empty"
        )
    return release


def earliest_of_the_best(
    releases: Sequence[_Release], margin: float, gain: Callable[[_Release, _Release], float | None]
) -> _Release:
    """Return the first release that is at most `margin` below the highest.

    A release that looks a little better by chance does not become the measure of all that follow.

    Args:
        releases: The releases, oldest first.
        margin: A difference of accuracies.
        gain: Returns by how much the first release is more accurate than the second, or None if they cannot
            be compared. The later of two such releases counts as higher.

    """
    highest = releases[0]
    for release in releases[1:]:
        difference = gain(release, highest)
        if difference is None or difference > 0:
            highest = release

    def is_near(release: _Release) -> bool:
        difference = gain(release, highest)
        return difference is not None and difference >= -margin

    return next(release for release in releases if release is highest or is_near(release))


def _gain(records: Records, one: _Verified, other: _Verified) -> float | None:
    if one.holdout == other.holdout:
        return one.accuracy - other.accuracy
    own, others = _valid(records, one.release), _valid(records, other.release)
    if own and others:
        return recorded.gain(own, others)
    return math.inf if own else -math.inf if others else None


def _valid(records: Records, release: Snapshot) -> Decisions | None:
    """Return the decisions that a release records, or None if they do not belong to its evaluation."""
    try:
        return records.of(release)
    except (ComparisonError, GateError):
        return None
