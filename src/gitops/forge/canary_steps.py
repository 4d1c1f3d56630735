"""The steps of a canary: the pull request for its next share, or for its end."""

from gitops.errors import RuleError, SettingsError
from gitops.forge.promotion_status import LONGEST, PromotionStatus
from gitops.gates import canaries
from gitops.git.repository import Repository
from gitops.promotion.evidence import Evidence
from gitops.promotion.proposals import Proposal
from gitops.promotion.trial_proposals import propose_trial
from gitops.promotion.trials import report_about
from gitops.release import canaries as shares
from gitops.release import checks
from gitops.release import file as release_file
from gitops.release.state import ReleaseState
from gitops.text.markdown import Fold, code, fit, plain


def plan_canary(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    evidence: Evidence | None = None,
    *,
    judge: bool = True,
) -> PromotionStatus | None:
    """Decide whether the canary of an environment gets a larger share, or ends; None without a canary.

    It ends if the environment rejected it, which takes its work from it at once: the release file follows.
    """
    present, branch = state.present(environment), f"refs/heads/canary/{environment}"
    if present.canary is None or present.share is None:
        if not repository.remote_refs(remote, branch):
            return None
        return PromotionStatus(environment, "over", "no canary answers there", canary=True)
    commit, share = present.canary, shares.next_step(present.share)
    shown = f"the canary {commit[:12]} answers {present.share}%"
    if tag := state.verdicts.rejected(environment, commit):
        commit, share, shown = None, None, f"{environment} rejected the canary {commit[:12]} ({tag.name})"
    elif share is None:
        return PromotionStatus(environment, "over", f"{shown}; its promotion comes next", canary=True)
    else:
        sources = evidence or Evidence.of(repository)
        report = report_about(state, environment, commit, sources)
        try:
            missing = canaries.lacking(report, present.share, state.settings(environment))
        except SettingsError as error:
            return PromotionStatus(environment, "refused", str(error), None, (error.finding,), canary=True)
        if missing:
            return PromotionStatus(environment, "wait", f"{shown}; {missing}", canary=True)
    if not judge:
        return PromotionStatus(environment, "open", shown, canary=True)
    try:
        proposal = propose_trial(repository, state, environment, remote, "canary", commit, share, evidence)
    except RuleError as error:
        return PromotionStatus(environment, "wait", str(error), canary=True)
    subject = proposal.message.partition("\n")[0]
    return PromotionStatus(environment, "open", subject, proposal, canary=True)


def describe(state: ReleaseState, proposal: Proposal, evidence: Evidence) -> str:
    """Return the description of a pull request that changes the share of a canary, as Markdown."""
    environment, before, after = proposal.environment, proposal.before, proposal.after
    commit = before.canary or ""
    parts = [
        f"{plain(proposal.message.partition(chr(10))[0])}. Merging changes "
        f"`{release_file.path_of(environment)}` and nothing else."
    ]
    if tag := state.verdicts.rejected(environment, commit):
        reason = plain(tag.message.partition("\n")[0])
        parts.append(
            f"{environment} rejected it ({code(tag.name)}): {reason}. The release has answered "
            "everything since then."
        )
    if report := report_about(state, environment, commit, evidence):
        parts.append(f"The newest report: {plain(str(report))}.")
        found = canaries.judge(report, state.settings(environment))
        fold = Fold(f"Checks at {before.share}%: {checks.summary(found)}", checks.markdown(found))
        return fit("\n\n".join(parts), [fold], longest=LONGEST)
    if after.canary is None:
        parts.append("There is no report on it.")
    return "\n\n".join(parts)
