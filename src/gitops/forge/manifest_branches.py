"""The branches `deploy/<env>`: the manifests of the release of each environment, which Argo CD follows.

A branch follows main: it changes with a merged promotion, a merged rollback, or a merged change of settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gitops.diff.manifests import assemble
from gitops.errors import ManifestsError, ReleaseError, SettingsError
from gitops.git.repository import Repository
from gitops.release import signatures
from gitops.release.signatures import Trust
from gitops.release.state import ReleaseState


@dataclass(frozen=True)
class ManifestBranch:
    """The branch of an environment.

    Attributes:
        environment: The environment.
        commit: The commit that the branch should point to; None where it stays as it is.
        before: The commit that it points to on the remote; None where there is no branch.
        text: The action, and the reason.

    """

    environment: str
    commit: str | None
    before: str | None
    text: str

    @property
    def name(self) -> str:
        """The name of the branch."""
        return f"deploy/{self.environment}"


def plan(repository: Repository, state: ReleaseState, remote: str) -> Iterator[ManifestBranch]:
    """Yield the branch of each environment with an overlay. Pushes nothing."""
    trust = Trust.load(repository, state.tip, state.environments, remote=remote)
    for environment in state.environments:
        name = f"deploy/{environment}"
        reference = repository.branch_ref(remote, name)
        before = repository.resolve(reference) if repository.has(reference) else None
        try:
            if objection := _objection(state, trust, environment):
                yield ManifestBranch(environment, None, before, f"stays as it is: {objection}")
                continue
            release = state.declared(environment).release
            files = assemble(repository, state.tip, environment, release)
        except (ReleaseError, SettingsError, ManifestsError) as error:
            yield ManifestBranch(environment, None, before, f"stays as it is: {error}")
            continue
        if not files:
            continue
        shown = release.commit[:12] if release.commit else f"main {state.tip[:12]}"
        gone = dict.fromkeys(repository.files(before)) if before else {}
        message = f"Deploy {shown} in {environment}\n\nSettings of main {state.tip[:12]}\n"
        commit = repository.commit_files(before, {**gone, **files}, message, sign=repository.signs())
        if before and repository.tree_id(commit, "") == repository.tree_id(before, ""):
            yield ManifestBranch(environment, None, before, f"has the manifests of {shown}")
        else:
            yield ManifestBranch(environment, commit, before, f"gets the manifests of {shown}")


def push(repository: Repository, remote: str, branch: ManifestBranch) -> None:
    """Push a branch.

    Raises:
        PushRejectedError: if somebody else was quicker, or the remote does not let this user push.

    """
    reference = f"refs/heads/{branch.name}"
    repository.push(remote, {reference: branch.commit}, leases={reference: branch.before})


def _objection(state: ReleaseState, trust: Trust, environment: str) -> str | None:
    """Return why the declaration of an environment does not count, or None if it does."""
    if state.main_fault is not None:
        return str(state.main_fault)
    if not state.settings(environment).require_signed_releases:
        return None
    return trust.lists.problem or signatures.objection(trust, state.declared(environment))
