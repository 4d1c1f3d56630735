"""The one decision whether a commit may run in an environment."""

from gitops.findings import Finding
from gitops.release import contract
from gitops.release import file as release_file
from gitops.release.state import ReleaseState

DAGS = "dags"


def may_run(state: ReleaseState, environment: str, commit: str) -> Finding | None:
    """Return the reason why a commit may not run in an environment, or None if it may.

    The rules of promotions and rollbacks ask here, and so does the bundle that serves a release. The rules
    ask for more before main may declare a commit. Whatever main declares, nothing else runs.

    Args:
        state: The state that main declares, with the verdicts of the environment.
        environment: The environment.
        commit: The full id of a commit.

    """
    return served(state, environment, commit) or rejected(state, environment, commit)


def served(state: ReleaseState, environment: str, commit: str) -> Finding | None:
    """Return the reason why this runtime cannot serve a commit, whatever its verdict, or None if it can."""
    repository, file = state.repository, release_file.path_of(environment)
    if not repository.has(commit) or not repository.is_ancestor(commit, state.tip):
        return Finding(file, f"{commit[:12]} is not on main", "name a commit that main pointed to")
    if repository.tree_id(commit, f"{DAGS}/") is None:
        return Finding(file, f"{commit[:12]} has no folder {DAGS}", "name a commit that has DAGs")
    if objection := contract.objection(repository, commit):
        return Finding(file, objection, "roll out a runtime that has it first")
    return None


def rejected(state: ReleaseState, environment: str, commit: str) -> Finding | None:
    """Return the verdict by which an environment rejected a commit, or None where it did not."""
    tag = state.verdicts.rejected(environment, commit)
    if tag is None:
        return None
    return Finding(
        release_file.path_of(environment),
        f"{environment} rejected {commit[:12]} ({tag.name})",
        "release another commit, or delete that tag to give it another chance",
    )
