"""Trials: the proposals of a shadow or a canary beside the release of an environment, and of its end."""

from dataclasses import replace

from gitops.errors import NothingToDoError
from gitops.git.repository import Repository
from gitops.promotion.due import require_promotable
from gitops.promotion.evidence import Evidence
from gitops.promotion.proposals import Proposal, obey, propose
from gitops.promotion.rules import judge_release
from gitops.release.file import TrialKind
from gitops.release.state import ReleaseState


def propose_trial(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    kind: TrialKind,
    commit: str | None,
    share: int | None = None,
    evidence: Evidence | None = None,
) -> Proposal:
    """Propose to try the model of a commit beside the release of an environment. Pushes nothing.

    Args:
        repository: The repository.
        state: The state that main declares; it knows the commit.
        environment: The environment.
        remote: The remote.
        kind: A shadow answers no batch, a canary answers a share of them.
        commit: The commit; None ends the trial.
        share: The share of a canary in percent.
        evidence: The sources about models.

    Raises:
        NothingToDoError: if the environment declares that already.
        RefusedError: when rules forbid it.

    """
    require_promotable(state, environment)
    before = state.present(environment)
    at = f" at {share}%" if share else ""
    if (getattr(before, kind), before.share if kind == "canary" else None) == (commit, share):
        shown = f"has the {kind} {commit[:12]}{at} already" if commit else f"has no {kind}"
        raise NothingToDoError(f"{environment} {shown}")
    trial = {"shadow": None, "canary": None, kind: commit, "share": share}
    after = before.model_copy(update={**trial, "override": None})
    if commit is None:
        subject = f"{'Stop the shadow' if kind == 'shadow' else 'End the canary'} of {environment}"
    elif kind == "shadow":
        subject = f"Try {commit[:12]} in {environment}"
    else:
        subject = f"Let {commit[:12]} answer {share}% in {environment}"
    judgement = obey(judge_release(state, environment, after, evidence or Evidence.of(repository)))
    proposal = propose(repository, state, {environment: after}, remote, f"{kind}/{environment}", subject)
    return replace(proposal, judgement=judgement)
