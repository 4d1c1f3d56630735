"""Promotion status: whether a promotion into an environment is due, and the pull request for it.

A person could do the same: the pull request has the commit of `gitops promote`, and whoever
merges it promotes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gitops.diff import manifests
from gitops.diff.load import load_difference
from gitops.dvc import provenance
from gitops.errors import CalendarError, ManifestsError, NothingToDoError, RuleError, SettingsError
from gitops.forge import canary_steps
from gitops.forge.interface import Forge
from gitops.forge.promotion_status import LONGEST, PromotionStatus
from gitops.git.repository import Repository
from gitops.promotion.approved import approved
from gitops.promotion.due import awaited, due, runtime_due
from gitops.promotion.evidence import Evidence
from gitops.promotion.migrations import migration
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import Proposal, push
from gitops.release import canaries as shares
from gitops.release import checks, runtimes
from gitops.release import file as release_file
from gitops.release.load import add
from gitops.release.state import ReleaseState
from gitops.text import instructions
from gitops.text.instructions import Meeting
from gitops.text.markdown import Fold, code, fenced, fit, plain


def plan(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    evidence: Evidence | None = None,
    *,
    now: datetime | None = None,
    judge: bool = True,
) -> PromotionStatus:
    """Decide whether it is time to promote into `environment` the release that the ones before it run.

    It is once these have verified it, for as long as MIN_SOAK_HOURS asks. Without `judge` nothing is
    proposed, so no rule or gate is asked.
    """
    environments = state.environments
    sources = environments.before(environment)
    source = " and ".join(sources)
    if standing := state.present(environment).holds(now):
        return PromotionStatus(environment, "over", f"held: {'; '.join(map(str, standing))}")
    commit = due(state, environment)
    if commit is None:
        return PromotionStatus(environment, "wait", f"{source} has no release yet")
    short = commit[:12]
    if state.has(environment, commit, runtime_due(state, environment, commit)):
        return PromotionStatus(environment, "over", f"has the release of {source}, {short}, already")
    for name in sources:
        if tag := state.verdicts.rejected(name, commit):
            return PromotionStatus(environment, "over", f"{name} rejected {short} ({tag.name})")
        there = commit if environments.follows(name) else state.present(name).commit
        if not state.same(there, commit):
            runs = (there or "nothing")[:12]
            return PromotionStatus(environment, "wait", f"{short} is due, but {name} runs {runs}")
    present = state.present(environment)
    if present.canary is not None and present.share is not None:
        tried = state.snapshot(present.canary)
        if tried is None or not state.same(present.canary, commit) or shares.next_step(present.share):
            text = f"{short} is due, but the canary {present.canary[:12]} answers {present.share}%"
            return PromotionStatus(environment, "wait", text)
    missing = awaited(state, environment)
    ages = [age for name in sources if (age := state.verdicts.age(name, commit, now=now)) is not None]
    if missing or len(ages) < len(sources):
        return PromotionStatus(
            environment, "wait", f"{' and '.join(missing) or source} has not verified {short} yet"
        )
    age = min(ages)
    try:
        soak = timedelta(hours=state.settings(environment).min_soak_hours)
    except SettingsError as error:
        return PromotionStatus(environment, "refused", str(error), refused=(error.finding,))
    if soak and age < soak:
        until = (now or datetime.now(UTC)) + soak - age
        return PromotionStatus(
            environment,
            "wait",
            f"{source} verified {short} not long enough ago; due {until:%Y-%m-%d %H:%M} UTC",
        )
    try:
        closed = state.main.calendar.closed(environment, now or datetime.now(UTC))
    except CalendarError as error:
        return PromotionStatus(environment, "refused", str(error), refused=(error.finding,))
    if closed:
        return PromotionStatus(environment, "wait", f"{short} is due, but promotions are closed: {closed}")
    if environments[environment].approvals:
        state = add(state, repository, [commit])
        given = approved(
            state, environment, commit, evidence or Evidence.of(repository), repository.addresses()
        )
        if not given.enough:
            text = f"{short} is due, and has {given}; {given.remedy}"
            return PromotionStatus(environment, "wait", text)
    if notice := provenance.notice(repository, commit):
        return PromotionStatus(environment, "wait", f"{short}: {notice.text}")
    if not judge:
        return PromotionStatus(environment, "open", f"{short} is due")
    try:
        proposal = promote(repository, state, environment, remote, evidence, now=now)
    except NothingToDoError as error:
        return PromotionStatus(environment, "over", str(error))
    except RuleError as error:
        return PromotionStatus(environment, "refused", str(error), refused=error.findings)
    return PromotionStatus(environment, "open", proposal.message.partition("\n")[0], proposal)


def anything_due(
    repository: Repository, state: ReleaseState, remote: str, statuses: Iterable[PromotionStatus]
) -> bool:
    """Return whether a promotion is due, or a branch that promotes exists and may have to change."""
    branches = [
        f"refs/heads/{kind}/{name}"
        for kind in ("promote", "canary")
        for name in state.environments.promotable
    ]
    return any(status.state in ("open", "refused") for status in statuses) or bool(
        repository.remote_refs(remote, *branches)
    )


def apply(
    forge: Forge,
    repository: Repository,
    state: ReleaseState,
    remote: str,
    status: PromotionStatus,
    evidence: Evidence | None = None,
) -> PromotionStatus:
    """Open, update, merge or close the pull request of an environment; return the status with the result.

    It is merged where `promotion` of the environment is not `by-hand`.
    """
    branch = status.branch
    if status.proposal is not None:
        push(repository, remote, status.proposal)
        at = instructions.meeting(repository.remote_url(remote))
        if status.canary:
            description = canary_steps.describe(state, status.proposal, evidence or Evidence.of(repository))
        else:
            description = describe(repository, state, status.proposal, at)
        kept, done = forge.keep(branch, status.text, description)
        status = replace(status, text=f"{status.text}: {done}, {kept.url}")
        if state.environments[status.environment].promotion == "by-hand":
            return status
        # The rules allow it now, so its soak is over and its window is open.
        why_not = forge.merge(kept, evidence or Evidence.of(repository))
        result = f"not merged: {why_not}" if why_not else "merged"
        return replace(status, text=f"{status.text}; {result}")
    present = forge.find(branch)
    if present is None:
        return status
    if status.state == "over":
        why = f"Nothing to promote into {status.environment} any more: {plain(status.text)}."
        forge.close(present, why)
        return replace(status, text=f"{status.text}; closed {present.url}")
    return replace(status, text=f"{status.text}; still open: {present.url}")


def describe(repository: Repository, state: ReleaseState, proposal: Proposal, at: Meeting) -> str:
    """Return the description of a pull request, as Markdown; `at` is where the proposal is merged."""
    environment, commit = proposal.environment, proposal.after.commit
    sources = state.environments.before(environment)
    verified = ""
    for source in sources:
        verdict = state.verdicts.verified(source, commit)
        if verdict is not None and verdict.measured_accuracy is not None:
            verified += (
                f" {source} verified it on {verdict.at:%Y-%m-%d at %H:%M} UTC: mean accuracy "
                f"{verdict.measured_accuracy:.4f} on {verdict.samples} images ({code(verdict.tag)})."
            )
    come_from = f"{' and '.join(sources)} {'runs' if len(sources) == 1 else 'run'}"
    first = [
        f"{environment} is to run {code((commit or '')[:12])}, which {come_from}.{verified}",
        f"Merging changes `{release_file.path_of(environment)}` and nothing else; {environment} then takes "
        "the release. To go back, in a checkout after `make setup`:",
        f"```sh\n{instructions.text(instructions.roll_back(environment, at))}\n```",
    ]
    if proposal.before.runtime != proposal.after.runtime:
        names = (runtimes.short(one.runtime) for one in (proposal.before, proposal.after))
        first.insert(1, f"Its runtime changes: {' -> '.join(map(code, names))}.")
    if migrated := migration(state, environment, proposal.before, proposal.after):
        commands = fenced(instructions.text(migrated.commands), "sh")
        first.insert(2, f"**{plain(str(migrated))}.** Before you merge:\n\n{commands}")
    verdicts = ((source, state.verdicts.latest(source, commit)) for source in sources)
    folds = [
        Fold(f"Checks in {source}: {checks.summary(verdict.checks)}", checks.markdown(verdict.checks))
        for source, verdict in verdicts
        if verdict and verdict.checks
    ]
    before, after = (state.snapshot(name) if name else None for name in (proposal.before.commit, commit))
    difference = load_difference(repository, before, after, environments=False)
    if before is not None:
        folds.append(Fold("Changes in " + environment, difference.markdown().rstrip()))
        folds += _manifests(repository, state, proposal)
    else:
        first.insert(1, f"It is the first release of {environment}, so everything in it is new.")
    return fit("\n\n".join(first), folds, longest=LONGEST)


def _manifests(repository: Repository, state: ReleaseState, proposal: Proposal) -> Iterator[Fold]:
    """Yield the difference of the manifests of an environment, where something changes."""
    title = f"Manifests of {proposal.environment}"
    try:
        sides = [
            manifests.assemble(repository, state.tip, proposal.environment, release)
            for release in (proposal.before, proposal.after)
        ]
        changes = manifests.difference(*sides)
    except ManifestsError as error:
        yield Fold(title, plain(str(error)))
        return
    if changes:
        yield Fold(title, fenced(changes, "diff"))
