"""Promotion and rollback: the one-file commits by which a release reaches an environment.

They obey `gitops.promotion.rules`, by which `gitops check` judges every change of a release file: an edit by
hand cannot do anything that `gitops promote` would refuse.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from gitops.diff.diff import compare
from gitops.errors import GateError, NothingToDoError, PushRejectedError, RuleError
from gitops.git.repository import Repository
from gitops.model.evaluation import evaluation
from gitops.promotion.rules import (
    NO_EVIDENCE,
    Evidence,
    Judgement,
    RefusedError,
    chain,
    choices,
    judge_release,
)
from gitops.release import file as release_file
from gitops.release import signatures
from gitops.release.file import ENVIRONMENTS, PREVIOUS, Release
from gitops.release.state import Ledger, last_good

_LONGEST_REASON = 500


@dataclass(frozen=True)
class Proposal:
    """A one-file commit on a branch of its own, ready to become a pull request."""

    environment: str
    branch: str
    commit: str
    before: Release
    after: Release
    message: str
    known: bool
    """Whether the remote already has the branch at this commit."""
    judgement: Judgement = field(default_factory=Judgement)


def promote(
    ledger: Ledger,
    environment: str,
    remote: str,
    evidence: Evidence = NO_EVIDENCE,
    *,
    now: datetime | None = None,
) -> Proposal:
    """Propose to an environment the release that the one before it runs. Pushes nothing.

    Raises:
        NothingToDoError: when it has that release already.
        RefusedError: when rules forbid it.

    """
    _promotable(environment)
    source = PREVIOUS[environment]
    before = ledger.present(environment)
    commit = due(ledger, environment)
    if commit is None:
        raise NothingToDoError(f"{source} has no release yet: nothing to promote to {environment}")
    if release_file.same(ledger.repository, before.commit, commit):
        raise NothingToDoError(f"{environment} already has the release of {source}, {commit[:12]}")
    after = Release(commit=commit)
    judgement = _obey(judge_release(ledger, environment, after, evidence, now=now))
    subject = f"Promote {commit[:12]} to {environment}"
    branch = f"promote/{environment}"
    proposal = _propose(ledger, environment, remote, branch, before, after, subject, load_dags=True)
    return replace(proposal, judgement=judgement)


def due(ledger: Ledger, environment: str) -> str | None:
    """Return the commit that would be promoted to an environment, or None where there is none."""
    source = PREVIOUS[environment]
    return ledger.tip if source == "dev" else ledger.present(source).commit


def awaited(ledger: Ledger, environment: str) -> list[str]:
    """Return the environments whose verdict a promotion waits for; none once one of them rejected it."""
    _promotable(environment)
    commit = due(ledger, environment)
    before, verdicts = chain(environment), ledger.verdicts
    if commit is None or any(verdicts.rejected(name, commit) for name in before):
        return []
    return [name for name in before if not verdicts.verified(name, commit)]


def rollback(
    ledger: Ledger, environment: str, remote: str, *, to: str | None = None, reason: str | None = None
) -> Proposal:
    """Propose an earlier release again, and hold promotions until somebody lifts that. Pushes nothing.

    `to` names the commit; without it, it is the last verified one before the present. `reason` is why.

    :raises RuleError: when there is nothing to go back to, or a rule forbids it.
    """
    _promotable(environment)
    before = ledger.present(environment)
    if before.commit is None:
        raise RuleError(f"{environment} has no release yet: there is nothing to roll back")
    if to is None:
        good = last_good(ledger, environment)
        if good is None:
            raise RuleError(
                f"{environment} verified no release before {before.commit[:12]}; name one that it ran with "
                f"--to: {choices(ledger, environment)}"
            )
        commit = good
    else:
        ran = sorted({entry.commit for entry in ledger.history(environment) if entry.commit})
        matches = [commit for commit in ran if commit.startswith(to.lower())]
        if len(matches) != 1 or len(to) < 4:
            raise RuleError(
                f"{environment} never ran {to}; --to takes one of: {choices(ledger, environment)}"
            )
        commit = matches[0]
    if commit == before.commit:
        raise NothingToDoError(f"{environment} already has {commit[:12]}")
    # A reason that cannot be written as it is must not keep anybody from rolling back.
    printable = "".join(letter if letter.isprintable() else " " for letter in reason or "")
    hold = " ".join(printable.split())[:_LONGEST_REASON] or f"rolled back from {before.commit[:12]}"
    after = Release(commit=commit, hold=hold)
    _obey(judge_release(ledger, environment, after))
    subject = f"Roll {environment} back to {commit[:12]}"
    return _propose(ledger, environment, remote, f"rollback/{environment}", before, after, subject)


def release_hold(ledger: Ledger, environment: str, remote: str) -> Proposal:
    """Propose to allow promotions into an environment again. Pushes nothing.

    :raises NothingToDoError: when nothing holds it.
    """
    _promotable(environment)
    before = ledger.present(environment)
    if before.hold is None:
        raise NothingToDoError(f"{environment} is not held")
    after = Release(commit=before.commit)
    _obey(judge_release(ledger, environment, after))
    subject = f"Lift the hold on {environment}"
    return _propose(ledger, environment, remote, f"release-hold/{environment}", before, after, subject)


def push(ledger: Ledger, remote: str, proposal: Proposal) -> None:
    """Push a proposal to its branch, in the place of an earlier one that `ledger` knew.

    :raises PushRejectedError: when somebody else was quicker, or the remote does not let this user push.
    """
    if proposal.known:
        return
    reference = f"refs/heads/{proposal.branch}"
    known = _on_remote(ledger.repository, remote, proposal.branch)
    try:
        ledger.repository.push(remote, {reference: proposal.commit}, leases={reference: known})
    except PushRejectedError as error:
        if ledger.repository.remote_refs(remote, reference).get(reference) == known:
            raise
        raise PushRejectedError(
            f"{proposal.branch}: somebody else has just pushed or merged it; run the same again to see what "
            f"is left to do"
        ) from error


def describe(repository: Repository, before: str | None, after: str | None, *, load_dags: bool = True) -> str:
    """Tell in bounded text what changes between two releases.

    :param load_dags: Load the DAG files to tell tasks and schedules apart, which takes seconds.
    """
    if before is not None and not repository.has(before):
        before = None
    head = [f"Release: {_short(before)} -> {_short(after)}"]
    head.append(f"Accuracy: {_accuracy(repository, before)} -> {_accuracy(repository, after)}")
    found = compare(repository, before, after, load_dags=load_dags, environments=False)
    return "\n".join([*head, found.text()])


def _propose(
    ledger: Ledger,
    environment: str,
    remote: str,
    branch: str,
    before: Release,
    after: Release,
    subject: str,
    *,
    load_dags: bool = False,
) -> Proposal:
    repository = ledger.repository
    hold = f"Hold: {before.hold or 'none'} -> {after.hold or 'none'}\n" if before.hold != after.hold else ""
    described = describe(repository, before.commit, after.commit, load_dags=load_dags)
    message = f"{subject}\n\n{hold}{described}\n"
    files = {release_file.path_of(environment): release_file.render(after, environment)}
    sign = repository.signs()
    commit = repository.commit_files(ledger.tip, files, message, sign=sign)
    existing = _on_remote(repository, remote, branch)
    known = (
        existing is not None
        and _equal(repository, existing, commit)
        and (not sign or signatures.signed(repository, existing))
    )
    return Proposal(
        environment, branch, existing if known and existing else commit, before, after, message, known
    )


def _equal(repository: Repository, one: str, other: str) -> bool:
    def content(commit: str) -> str:
        return repository.git("show", "--no-patch", "--format=%T %P", commit)

    return content(one) == content(other)


def _on_remote(repository: Repository, remote: str, branch: str) -> str | None:
    reference = repository.branch_ref(remote, branch)
    return repository.resolve(reference) if repository.has(reference) else None


def _promotable(environment: str) -> None:
    if environment not in ENVIRONMENTS:
        raise RuleError(f"{environment}: no such environment; there are {', '.join(ENVIRONMENTS)}")
    if environment not in PREVIOUS:
        raise RuleError(f"{environment} follows main: merge, or revert, there")


def _obey(judgement: Judgement) -> Judgement:
    if judgement.findings:
        raise RefusedError(judgement)
    return judgement


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "no release"


def _accuracy(repository: Repository, commit: str | None) -> str:
    if commit is None:
        return "none"
    try:
        return f"{evaluation(repository, commit).mean_accuracy:.4f}"
    except GateError:
        return "none"
