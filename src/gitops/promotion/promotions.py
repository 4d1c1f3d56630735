"""Promotions: the proposals that bring a release from one environment to the next."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from gitops.errors import NothingToDoError, RuleError
from gitops.findings import Finding
from gitops.git.repository import Repository
from gitops.promotion.due import release_due, require_promotable
from gitops.promotion.evidence import Evidence
from gitops.promotion.judgement import Judgement
from gitops.promotion.proposals import Proposal, obey, propose
from gitops.promotion.rules import judge_release
from gitops.release.file import Release
from gitops.release.state import ReleaseState


def promote(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    evidence: Evidence | None = None,
    *,
    override: str | None = None,
    now: datetime | None = None,
) -> Proposal:
    """Propose to an environment the release that the ones before it run. Pushes nothing.

    Args:
        repository: The repository.
        state: The state that main declares.
        environment: The environment.
        remote: The remote.
        evidence: The sources about models.
        override: The reason for a promotion outside of the windows of the calendar.
        now: The present time.

    Raises:
        NothingToDoError: when it has that release already.
        RefusedError: when rules forbid it.
        RuleError: for an override without a reason, or that git would not sign.

    """
    require_promotable(state, environment)
    if override is not None:
        if not (override.strip() and override.isprintable()):
            raise RuleError(
                Finding(environment, "no reason for the override", "give one line of text", rule="override")
            )
        if not repository.signs():
            right = "set gpg.format ssh and user.signingKey too"
            problem = "an override must be signed, and git signs no commits here"
            sign = "git config commit.gpgSign true"
            raise RuleError(Finding(environment, problem, right, rule="override", command=sign))
    due_there = release_due(state, environment)
    moves = {environment: due_there.model_copy(update={"override": override})}
    with repository.reading():
        return _promote(repository, state, moves, remote, f"promote/{environment}", evidence, now)


def promote_wave(
    repository: Repository,
    state: ReleaseState,
    wave: str,
    remote: str,
    evidence: Evidence | None = None,
    *,
    now: datetime | None = None,
) -> Proposal:
    """Propose one release to all environments of a wave that do not have it yet. Pushes nothing.

    Raises:
        NothingToDoError: when each of them has its release already.
        RefusedError: when rules forbid it for one of them.
        RuleError: when the wave follows main, or different releases are due in it.
        EnvironmentsError: when there is no such wave.

    """
    moves: dict[str, Release] = {}
    reasons: list[str] = []
    for environment in state.environments.wave(wave):
        require_promotable(state, environment)
        try:
            moves[environment] = release_due(state, environment)
        except NothingToDoError as error:
            reasons.append(str(error))
    if not moves:
        raise NothingToDoError("; ".join(reasons))
    if len({after.commit for after in moves.values()}) > 1:
        releases = ", ".join(f"{name} {(after.commit or '')[:12]}" for name, after in moves.items())
        problem = f"a wave takes one release, but these are due: {releases}"
        raise RuleError(Finding(wave, problem, "promote one by one", rule="wave"))
    with repository.reading():
        return _promote(repository, state, moves, remote, f"promote-wave/{wave}", evidence, now)


def _promote(
    repository: Repository,
    state: ReleaseState,
    moves: Mapping[str, Release],
    remote: str,
    branch: str,
    evidence: Evidence | None,
    now: datetime | None,
) -> Proposal:
    # By such a main, the release that is due may be one that main never pointed to.
    judgement = obey(Judgement.from_findings(state.main_fault) if state.main_fault else Judgement())
    for environment, after in moves.items():
        judgement += judge_release(
            state,
            environment,
            after,
            evidence or Evidence.of(repository),
            proposers=repository.addresses(),
            now=now,
        )
    obey(judgement)
    commit = next(iter(moves.values())).commit or ""
    subject = f"Promote {commit[:12]} to {', '.join(moves)}"
    proposal = propose(repository, state, moves, remote, branch, subject)
    return replace(proposal, judgement=judgement)
