"""Promotion and rollback: the commits of release files by which a release reaches an environment.

They obey `gitops.promotion.rules`, by which `gitops check` judges every change of a release file: an edit by
hand cannot do anything that `gitops promote` would refuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import pairwise

from gitops.diff.load import load_difference
from gitops.errors import GateError, NothingToDoError, PushRejectedError, ReleaseError, RuleError
from gitops.findings import Finding
from gitops.git.repository import Repository
from gitops.promotion.evidence import Evidence
from gitops.promotion.rules import Judgement, RefusedError, choices, judge_release
from gitops.release import file as release_file
from gitops.release import holds, runtimes, signatures
from gitops.release.file import Release
from gitops.release.holds import Hold
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState, last_good
from gitops.text import instructions

_NO_TRIAL = {"shadow": None, "canary": None, "share": None}


@dataclass(frozen=True)
class Proposal:
    """A commit of release files on a branch of its own, ready to become a pull request.

    Attributes:
        environment: The environment; of several, the first one.
        branch: The branch.
        commit: The commit.
        before: The release that the environment declares now.
        after: The release that it would declare.
        message: The message of the commit.
        known: Whether the remote already has the branch at this commit.
        judgement: The judgement of the rules.

    """

    environment: str
    branch: str
    commit: str
    before: Release
    after: Release
    message: str
    known: bool
    judgement: Judgement = field(default_factory=Judgement)


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
    _promotable(state, environment)
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
    due_there = _release_due(state, environment)
    moves = {environment: due_there.model_copy(update={"override": override})}
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
        _promotable(state, environment)
        try:
            moves[environment] = _release_due(state, environment)
        except NothingToDoError as error:
            reasons.append(str(error))
    if not moves:
        raise NothingToDoError("; ".join(reasons))
    if len({after.commit for after in moves.values()}) > 1:
        releases = ", ".join(f"{name} {(after.commit or '')[:12]}" for name, after in moves.items())
        problem = f"a wave takes one release, but these are due: {releases}"
        raise RuleError(Finding(wave, problem, "promote one by one", rule="wave"))
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
    judgement = _obey(Judgement.from_findings(state.main_fault) if state.main_fault else Judgement())
    for environment, after in moves.items():
        judgement += judge_release(
            state,
            environment,
            after,
            evidence or Evidence.of(repository),
            proposers=repository.addresses(),
            now=now,
        )
    _obey(judgement)
    commit = next(iter(moves.values())).commit or ""
    subject = f"Promote {commit[:12]} to {', '.join(moves)}"
    proposal = _propose(repository, state, moves, remote, branch, subject)
    return replace(proposal, judgement=judgement)


def _release_due(state: ReleaseState, environment: str) -> Release:
    sources = " and ".join(state.environments.before(environment))
    commit = due(state, environment)
    runtime = runtime_due(state, environment, commit)
    if commit is None:
        first = next(name for name in state.environments.before(environment))
        raise NothingToDoError(
            f"{sources} has no release to promote to {environment}. First: {instructions.promote(first)[0]}"
        )
    if state.has(environment, commit, runtime):
        raise NothingToDoError(f"{environment} already has the release of {sources}, {commit[:12]}")
    return Release(commit=commit, runtime=runtime)


def runtime_due(state: ReleaseState, environment: str, commit: str | None) -> str | None:
    """Return the runtime that a release is promoted with: the one that it has in an environment before.

    The environment that follows main has the one of its last verdict. Where none is named, the environment
    keeps its own.
    """
    for source in state.environments.before(environment):
        if not state.environments.follows(source):
            present = state.present(source)
            if present.runtime and state.same(present.commit, commit):
                return present.runtime
        elif verdicts := state.verdicts.every(source, commit):
            runtime = verdicts[-1].runtime
            if runtime and runtime.name:
                return runtime.name
    return state.present(environment).runtime


def due(state: ReleaseState, environment: str) -> str | None:
    """Return the commit that would be promoted to an environment, or None where there is none.

    Where several environments come before it, the newest of their releases is due. The rules ask each of them
    for it.
    """
    environments = state.environments
    sources = [name for name in environments.before(environment) if not environments.follows(name)]
    if not sources:
        return state.tip
    newest: str | None = None
    for source in sources:
        commit = state.present(source).commit
        if commit is None or state.snapshot(commit) is None:
            return commit
        if newest is None or state.is_ancestor(newest, commit):
            newest = commit
    return newest


def awaited(state: ReleaseState, environment: str) -> list[str]:
    """Return the environments whose verdict a promotion waits for; none once one of them rejected it."""
    _promotable(state, environment)
    commit = due(state, environment)
    before, verdicts = state.environments.chain(environment), state.verdicts
    if commit is None or any(verdicts.rejected(name, commit) for name in before):
        return []
    return [name for name in before if not verdicts.verified(name, commit)]


def rollback(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    *,
    to: str | None = None,
    reason: str | None = None,
    keep_runtime: bool = False,
) -> Proposal:
    """Propose an earlier release again, and hold promotions until somebody lifts that. Pushes nothing.

    The runtime on which the environment had that release comes back with it.

    Args:
        repository: The repository.
        state: The state that main declares.
        environment: The environment.
        remote: The remote.
        to: The commit; without it, the last verified one before the present. The present one goes back to
            the runtime that it had before.
        reason: The reason.
        keep_runtime: Whether the present runtime stays.

    Raises:
        RuleError: if there is nothing to go back to, or a rule forbids it.

    """
    _promotable(state, environment)
    before = state.present(environment)
    if before.commit is None:
        raise RuleError(
            Finding(
                environment,
                f"{environment} has no release yet",
                "there is nothing to return to; promote one",
                rule="rollback-target",
                command=instructions.propose("promote", environment),
            )
        )
    if to is None:
        changed = None if keep_runtime else _on_runtime_before(state, environment)
        good = changed.commit if changed else last_good(state, environment)
        if good is None:
            raise RuleError(
                Finding(
                    environment,
                    f"{before.commit[:12]} is the first verified release of {environment}: "
                    "there is no older one to return to",
                    f"name a release that it ran with --to: {choices(state, environment)}",
                    rule="rollback-target",
                    command=instructions.propose("rollback", environment, "--to", "COMMIT"),
                )
            )
        commit = good
    else:
        matches = [commit for commit in state.ran(environment) if commit.startswith(to.lower())]
        if len(matches) != 1 or len(to) < 4:
            remedy = f"--to takes one of: {choices(state, environment)}"
            raise RuleError(
                Finding(environment, f"{environment} never ran {to}", remedy, rule="rollback-target")
            )
        commit = matches[0]
    runtime = before.runtime if keep_runtime else _runtime_of(state, environment, commit)
    if (commit, runtime) == (before.commit, before.runtime):
        raise NothingToDoError(f"{environment} already has {commit[:12]}")
    branch = f"rollback/{environment}"
    why = reason if reason and reason.strip() else f"rolled back from {before.commit[:12]}"
    there = Release(commit=commit, runtime=runtime)
    after = _held(repository, state, environment, remote, branch, there, why)
    _obey(judge_release(state, environment, after, Evidence.of(repository)))
    subject = f"Roll {environment} back to {commit[:12]}"
    return _propose(repository, state, {environment: after}, remote, branch, subject)


def hold(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    reason: str,
    *,
    until: date | None = None,
    now: datetime | None = None,
) -> Proposal:
    """Propose to keep promotions out of an environment, for one more reason. Pushes nothing.

    Args:
        repository: The repository.
        state: The state that main declares.
        environment: The environment.
        remote: The remote.
        reason: The reason. A hold for the same reason is replaced.
        until: The day on which it ends; without it, somebody has to lift it.
        now: The present time.

    Raises:
        NothingToDoError: if it is held for that reason until then.
        RuleError: without a reason, or for a day that is over.

    """
    _promotable(state, environment)
    if not reason.strip():
        raise RuleError(
            Finding(environment, "no reason for the hold", 'give one: --reason "<text>"', rule="hold")
        )
    today = (now or datetime.now(UTC)).astimezone(UTC).date()
    if until is not None and until <= today:
        problem = f"--until {until} is over: it is {today} in UTC"
        raise RuleError(Finding(environment, problem, "name a later day, or leave --until out", rule="hold"))
    before, branch = state.present(environment), f"hold/{environment}"
    after = _held(repository, state, environment, remote, branch, before, reason, until, now)
    stands = {(one.reason, one.until) for one in before.holds(now)}
    if all((one.reason, one.until) in stands for one in after.holds(now)):
        raise NothingToDoError(f"{environment} is held for that reason already")
    _obey(judge_release(state, environment, after, Evidence.of(repository)))
    return _propose(repository, state, {environment: after}, remote, branch, f"Hold {environment}")


def unhold(
    repository: Repository, state: ReleaseState, environment: str, remote: str, *, reason: str | None = None
) -> Proposal:
    """Propose to lift a hold of an environment; its other holds stay. Pushes nothing.

    Args:
        repository: The repository.
        state: The state that main declares.
        environment: The environment.
        remote: The remote.
        reason: The reason of the hold, or a part of it that no other reason has; not needed for the only one.

    Raises:
        NothingToDoError: if nothing holds it.
        RuleError: if several holds are meant, or none.

    """
    _promotable(state, environment)
    before = state.present(environment)
    found = before.holds() or holds.parse(before.hold)
    if not found:
        raise NothingToDoError(f"{environment} is not held")
    words = (reason or "").strip()
    lifted = [one for one in found if one.reason == words]
    if not lifted:
        lifted = [one for one in found if words.casefold() in str(one).casefold()]
        if len(lifted) != 1:
            problem = f"has {len(lifted) or 'no'} holds" + (f" with {words}" if words else "")
            commands = [instructions.lift(environment, one.reason) for one in found]
            remedy = f"name one: {' or '.join(commands)}"
            raise RuleError(Finding(environment, problem, remedy, rule="hold", command=commands[0]))
    kept = [one for one in before.holds() if one not in lifted]
    after = before.model_copy(update={"hold": holds.render(kept), "override": None})
    _obey(judge_release(state, environment, after, Evidence.of(repository)))
    subject = f"Lift {'a' if kept else 'the'} hold on {environment}"
    return _propose(repository, state, {environment: after}, remote, f"unhold/{environment}", subject)


def shadow(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    commit: str | None,
    evidence: Evidence | None = None,
) -> Proposal:
    """Propose to try the model of a commit beside the release of an environment. Pushes nothing.

    Args:
        repository: The repository.
        state: The state that main declares; it knows the commit.
        environment: The environment.
        remote: The remote.
        commit: The commit; None ends the trial.
        evidence: The sources about models.

    Raises:
        NothingToDoError: if the environment declares that already.
        RefusedError: when rules forbid it.

    """
    _promotable(state, environment)
    before = state.present(environment)
    if before.shadow == commit:
        shown = f"has the shadow {commit[:12]} already" if commit else "has no shadow"
        raise NothingToDoError(f"{environment} {shown}")
    after = before.model_copy(update={**_NO_TRIAL, "shadow": commit, "override": None})
    subject = f"Try {commit[:12]} in {environment}" if commit else f"Stop the shadow of {environment}"
    return _trial(repository, state, environment, remote, after, f"shadow/{environment}", subject, evidence)


def canary(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    commit: str | None,
    share: int | None,
    evidence: Evidence | None = None,
) -> Proposal:
    """Propose to let the model of a commit answer a share of the batches of an environment. Pushes nothing.

    Args:
        repository: The repository.
        state: The state that main declares; it knows the commit.
        environment: The environment.
        remote: The remote.
        commit: The commit; None ends the canary.
        share: The share in percent; None ends the canary.
        evidence: The sources about models.

    Raises:
        NothingToDoError: if the environment declares that already.
        RefusedError: when rules forbid it.

    """
    _promotable(state, environment)
    before = state.present(environment)
    if (before.canary, before.share) == (commit, share):
        shown = f"has the canary {commit[:12]} at {share}% already" if commit else "has no canary"
        raise NothingToDoError(f"{environment} {shown}")
    after = before.model_copy(update={**_NO_TRIAL, "canary": commit, "share": share, "override": None})
    if commit:
        subject = f"Let {commit[:12]} answer {share}% in {environment}"
    else:
        subject = f"End the canary of {environment}"
    return _trial(repository, state, environment, remote, after, f"canary/{environment}", subject, evidence)


def _trial(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    after: Release,
    branch: str,
    subject: str,
    evidence: Evidence | None,
) -> Proposal:
    judgement = _obey(judge_release(state, environment, after, evidence or Evidence.of(repository)))
    proposal = _propose(repository, state, {environment: after}, remote, branch, subject)
    return replace(proposal, judgement=judgement)


def _held(
    repository: Repository,
    state: ReleaseState,
    environment: str,
    remote: str,
    branch: str,
    there: Release,
    reason: str,
    until: date | None = None,
    now: datetime | None = None,
) -> Release:
    """Return a release with one more hold, in the place of one for the same reason."""
    added = holds.new(reason, repository.author(), until=until, now=now)
    # A command that runs again finds its own proposal.
    for earlier in _proposed(repository, environment, remote, branch):
        if replace(earlier, at=added.at) == added:
            added = earlier
    present = state.present(environment)
    kept = [one for one in present.holds(now) if one.reason != added.reason]
    # A shadow or a canary is beside one release, and ends with it.
    same = (there.commit, there.runtime) == (present.commit, present.runtime)
    after = present if same else Release(commit=there.commit, runtime=there.runtime)
    return after.model_copy(update={"hold": holds.render([*kept, added]), "override": None})


def _runtime_of(state: ReleaseState, environment: str, commit: str) -> str | None:
    """Return the runtime that an environment had a release on before, as main declared it last."""
    present = state.present(environment)
    if commit == present.commit:
        before = _on_runtime_before(state, environment)
        return before.runtime if before else present.runtime
    named = (entry.release.runtime for entry in state.history(environment) if entry.commit == commit)
    return next(named, present.runtime)


def _on_runtime_before(state: ReleaseState, environment: str) -> Release | None:
    """Return the present release on the runtime that it had before; None if the last change was another one.

    A runtime that somebody rolled back from comes no more.
    """
    history, left = [entry.release for entry in state.history(environment)], set[str | None]()
    for newer, older in pairwise(history):
        if not state.same(newer.commit, older.commit):
            break
        if newer.runtime != older.runtime:
            if newer.hold is None and older.runtime not in left:
                verified = state.verdicts.verified(environment, older.commit)
                return older if verified and older.runtime != history[0].runtime else None
            left.add(older.runtime)
    return None


def _proposed(repository: Repository, environment: str, remote: str, branch: str) -> tuple[Hold, ...]:
    commit = _on_remote(repository, remote, branch)
    try:
        proposed = Snapshot.load(repository, commit) if commit else None
        release = proposed.release(environment, follows=False) if proposed else None
    except ReleaseError:
        return ()
    return holds.parse(release.hold) if release else ()


def push(repository: Repository, remote: str, proposal: Proposal) -> None:
    """Push a proposal to its branch, in the place of an earlier one that was fetched.

    Raises:
        PushRejectedError: if somebody else was quicker, or the remote does not let this user push.

    """
    if proposal.known:
        return
    reference = f"refs/heads/{proposal.branch}"
    known = _on_remote(repository, remote, proposal.branch)
    try:
        repository.push(remote, {reference: proposal.commit}, leases={reference: known})
    except PushRejectedError as error:
        if repository.remote_refs(remote, reference).get(reference) == known:
            raise
        raise PushRejectedError(
            f"{proposal.branch} was changed by somebody else meanwhile. Run the command again."
        ) from error


def describe(repository: Repository, state: ReleaseState, before: str | None, after: str | None) -> str:
    """Return the changes between two releases, as a text of bounded length."""
    old, new = (state.snapshot(commit) if commit else None for commit in (before, after))
    head = [f"Release: {_short(old)} -> {_short(new)}", f"Accuracy: {_accuracy(old)} -> {_accuracy(new)}"]
    difference = load_difference(repository, old, new, environments=False)
    return "\n".join([*head, difference.text()])


def _propose(
    repository: Repository,
    state: ReleaseState,
    moves: Mapping[str, Release],
    remote: str,
    branch: str,
    subject: str,
) -> Proposal:
    """Commit the new release files of environments, with a message that describes each difference once."""
    described: dict[str, list[str]] = {}
    for name, release in moves.items():
        present = state.present(name)
        lines = ""
        if present.hold != release.hold:
            lines = f"Hold: {present.hold or 'none'} -> {release.hold or 'none'}\n"
        if present.runtime != release.runtime:
            lines += f"Runtime: {runtimes.short(present.runtime)} -> {runtimes.short(release.runtime)}\n"
        if present.shadow != release.shadow:
            one, other = (commit[:12] if commit else "none" for commit in (present.shadow, release.shadow))
            lines += f"Shadow: {one} -> {other}\n"
        if (present.canary, present.share) != (release.canary, release.share):
            lines += f"Canary: {_canary(present)} -> {_canary(release)}\n"
        if release.override is not None:
            lines += f"Outside of the calendar: {release.override}\n"
        text = describe(repository, state, present.commit, release.commit)
        described.setdefault(f"{lines}{text}", []).append(name)
    parts = [
        f"In {', '.join(names)}:\n{text}" if len(described) > 1 else text for text, names in described.items()
    ]
    message = "\n\n".join([subject, *parts]) + "\n"
    environment, after = next(iter(moves.items()))
    before = state.present(environment)
    files = {
        release_file.path_of(name): release_file.render(release, name) for name, release in moves.items()
    }
    sign = repository.signs()
    commit = repository.commit_files(state.tip, files, message, sign=sign)
    existing = _on_remote(repository, remote, branch)
    known = (
        existing is not None
        and _equal(repository, existing, commit)
        and (not sign or signatures.signed(repository, existing))
    )
    return Proposal(
        environment, branch, existing if known and existing else commit, before, after, message, known
    )


def _equal(repository: Repository, first: str, second: str) -> bool:
    def content(commit: str) -> str:
        return repository.git("show", "--no-patch", "--format=%T %P", commit)

    return content(first) == content(second)


def _on_remote(repository: Repository, remote: str, branch: str) -> str | None:
    reference = repository.branch_ref(remote, branch)
    return repository.resolve(reference) if repository.has(reference) else None


def _promotable(state: ReleaseState, environment: str) -> None:
    if state.environments.follows(state.environments[environment].name):
        raise RuleError(
            Finding(
                environment,
                f"{environment} always runs main",
                "to change it, merge into main; to undo a change, revert its commit and merge that",
                rule="follows-main",
                command="git log --first-parent --oneline -5",
            )
        )


def _obey(judgement: Judgement) -> Judgement:
    if judgement.findings:
        raise RefusedError(judgement)
    return judgement


def _canary(release: Release) -> str:
    return f"{release.canary[:12]} at {release.share}%" if release.canary else "none"


def _short(release: Snapshot | None) -> str:
    return release.commit[:12] if release else "no release"


def _accuracy(release: Snapshot | None) -> str:
    try:
        return f"{release.evaluation.mean_accuracy:.4f}" if release else "none"
    except GateError:
        return "none"
