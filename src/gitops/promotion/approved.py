"""Approved: whether enough people approve a release for an environment."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from gitops.promotion.evidence import Evidence
from gitops.release.approvals import Given, counted
from gitops.release.state import ReleaseState
from gitops.text import instructions


@dataclass(frozen=True)
class Approved:
    """The approvals of a release for an environment.

    Attributes:
        environment: The environment.
        commit: The commit of the release.
        needed: How many people have to approve it.
        given: The approvals that count, one of each person.
        reasons: Why other approvals do not count.

    """

    environment: str
    commit: str
    needed: int
    given: tuple[Given, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether it may be promoted as far as approvals are concerned."""
        return len(self.given) >= self.needed

    @property
    def remedy(self) -> str:
        """The command for somebody else."""
        return f"somebody else approves it: {instructions.approve(self.environment, self.commit)}"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {
            "commit": self.commit,
            "needed": self.needed,
            "given": [{"by": one.by, "at": one.at.isoformat(), "tag": one.name} for one in self.given],
            "enough": self.enough,
            "text": str(self),
        }

    def __str__(self) -> str:
        by = ", ".join(one.by for one in self.given)
        text = f"{len(self.given)} of {self.needed} approvals" + (f" ({by})" if by else "")
        return "; not counted: ".join(filter(None, [text, ", ".join(self.reasons)]))


def approved(
    state: ReleaseState,
    environment: str,
    commit: str,
    evidence: Evidence,
    proposers: Collection[str] = (),
) -> Approved:
    """Count the approvals of a release. Its authors, and those of its promotion, cannot approve it.

    Where the environment had the release and left it, as by a rollback, only newer approvals count.

    Args:
        state: The state that main declares; it knows the commit.
        environment: The environment.
        commit: The commit of the release.
        evidence: The source about the authors of a change.
        proposers: The addresses of the authors of the promotion.

    """
    needed = state.environments[environment].approvals
    given = [
        one
        for one in state.approvals.given
        if one.environment == environment and state.same(one.release, commit)
    ]
    if not given:
        return Approved(environment, commit, needed)
    excluded = _excluded(state, environment, commit, evidence, proposers)
    left = _left(state, environment, commit)
    newer = [one for one in given if left is None or one.at >= left]
    kept, reasons = counted(newer, excluded)
    old = tuple(f"{one.by} approved it before {environment} left it" for one in given if one not in newer)
    return Approved(environment, commit, needed, kept, tuple(dict.fromkeys([*reasons, *old])))


def _left(state: ReleaseState, environment: str, commit: str) -> datetime | None:
    """Return when an environment last replaced a release by another one; None if it never did."""
    return next(
        (
            newer.at
            for newer, older in pairwise(state.history(environment))
            if state.same(older.commit, commit) and not state.same(newer.commit, commit)
        ),
        None,
    )


def refuses(
    state: ReleaseState, environment: str, commit: str, evidence: Evidence, approval: Given
) -> str | None:
    """Return why one approval would not count, or None if it would."""
    _, reasons = counted([approval], _excluded(state, environment, commit, evidence, ()))
    return next(iter(reasons), None)


def _excluded(
    state: ReleaseState, environment: str, commit: str, evidence: Evidence, proposers: Collection[str]
) -> dict[str, str]:
    authors = evidence.authors(state.present(environment).commit, commit, state.lists.signers)
    return {
        **dict.fromkeys(authors, "is an author of the change"),
        **dict.fromkeys(proposers, "is an author of the promotion"),
    }
