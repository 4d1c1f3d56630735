"""Rollbacks: the proposals that bring an earlier release back, with its runtime."""

from itertools import pairwise

from gitops.errors import NothingToDoError, RuleError
from gitops.findings import Finding
from gitops.git.repository import Repository
from gitops.promotion.due import require_promotable
from gitops.promotion.evidence import Evidence
from gitops.promotion.holds import held
from gitops.promotion.proposals import Proposal, obey, propose
from gitops.promotion.rules import choices, judge_release
from gitops.release.file import Release
from gitops.release.state import ReleaseState, earlier, last_good
from gitops.text import instructions


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
    require_promotable(state, environment)
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
            older = earlier(state, environment)
            raise RuleError(
                Finding(
                    environment,
                    f"{before.commit[:12]} is the first verified release of {environment}: "
                    "there is no older one to return to",
                    f"name another that it ran: {choices(state, environment)}"
                    if older
                    else "no other release ran there: hold promotions, correct main, and promote that",
                    rule="rollback-target",
                    command=instructions.propose("rollback", environment, "--to", older[0][:12])
                    if older
                    else instructions.propose("hold", environment, "--reason", "broken release"),
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
    after = held(repository, state, environment, remote, branch, there, why)
    obey(judge_release(state, environment, after, Evidence.of(repository)))
    subject = f"Roll {environment} back to {commit[:12]}"
    return propose(repository, state, {environment: after}, remote, branch, subject)


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
                there = state.on(environment, older.runtime)
                verified = there.verdicts.verified(environment, older.commit)
                return older if verified and older.runtime != history[0].runtime else None
            left.add(older.runtime)
    return None
