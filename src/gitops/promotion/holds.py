"""Holds: the proposals that keep promotions out of an environment, and the ones that lift that."""

from dataclasses import replace
from datetime import UTC, date, datetime

from gitops.errors import NothingToDoError, ReleaseError, RuleError
from gitops.findings import Finding
from gitops.git.repository import Repository
from gitops.promotion.due import require_promotable
from gitops.promotion.evidence import Evidence
from gitops.promotion.proposals import Proposal, obey, on_remote, propose
from gitops.promotion.rules import judge_release
from gitops.release import holds
from gitops.release.file import Release
from gitops.release.holds import Hold
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState
from gitops.text import instructions


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
    require_promotable(state, environment)
    if not reason.strip():
        raise RuleError(
            Finding(environment, "no reason for the hold", 'give one: --reason "<text>"', rule="hold")
        )
    today = (now or datetime.now(UTC)).astimezone(UTC).date()
    if until is not None and until <= today:
        problem = f"--until {until} is over: it is {today} in UTC"
        raise RuleError(Finding(environment, problem, "name a later day, or leave --until out", rule="hold"))
    before, branch = state.present(environment), f"hold/{environment}"
    after = held(repository, state, environment, remote, branch, before, reason, until, now)
    stands = {(one.reason, one.until) for one in before.holds(now)}
    if all((one.reason, one.until) in stands for one in after.holds(now)):
        raise NothingToDoError(f"{environment} is held for that reason already")
    obey(judge_release(state, environment, after, Evidence.of(repository)))
    return propose(repository, state, {environment: after}, remote, branch, f"Hold {environment}")


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
    require_promotable(state, environment)
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
    obey(judge_release(state, environment, after, Evidence.of(repository)))
    subject = f"Lift {'a' if kept else 'the'} hold on {environment}"
    return propose(repository, state, {environment: after}, remote, f"unhold/{environment}", subject)


def held(
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


def _proposed(repository: Repository, environment: str, remote: str, branch: str) -> tuple[Hold, ...]:
    commit = on_remote(repository, remote, branch)
    try:
        proposed = Snapshot.load(repository, commit) if commit else None
        release = proposed.release(environment, follows=False) if proposed else None
    except ReleaseError:
        return ()
    return holds.parse(release.hold) if release else ()
