"""The release that is due for an environment, and the verdicts that its promotion waits for."""

from gitops.errors import NothingToDoError, RuleError
from gitops.findings import Finding
from gitops.release.file import Release
from gitops.release.state import ReleaseState
from gitops.text import instructions


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


def release_due(state: ReleaseState, environment: str) -> Release:
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


def awaited(state: ReleaseState, environment: str) -> list[str]:
    """Return the environments whose verdict a promotion waits for; none once one of them rejected it."""
    require_promotable(state, environment)
    commit = due(state, environment)
    before, verdicts = state.environments.chain(environment), state.verdicts
    if commit is None or any(verdicts.rejected(name, commit) for name in before):
        return []
    return [name for name in before if not verdicts.verified(name, commit)]


def require_promotable(state: ReleaseState, environment: str) -> None:
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
