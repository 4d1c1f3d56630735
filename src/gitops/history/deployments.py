"""Deployments: each time that main declared another release for an environment, and the outcome there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gitops.errors import ReleaseError
from gitops.history.trunk import Past, TrunkCommit
from gitops.release import file as release_file
from gitops.release.environments import Environments
from gitops.release.file import Release
from gitops.release.verdicts import Verdicts


@dataclass(frozen=True)
class Deployment:
    """One declaration of another release.

    Attributes:
        release: The release.
        change: The commit of main that declared it.
        back: Whether it was a rollback.
        verified: When the environment had it and had verified it; None where it has not.
        rejected: When the environment rejected it; None where it has not.
        undone: Whether the next declaration was a rollback.

    """

    release: str
    change: TrunkCommit
    back: bool = False
    verified: datetime | None = None
    rejected: datetime | None = None
    undone: bool = False

    @property
    def at(self) -> datetime:
        return self.change.at

    @property
    def failed(self) -> bool:
        return self.rejected is not None or self.undone


def of_environment(
    past: Past, environments: Environments, verdicts: Verdicts, environment: str
) -> list[Deployment]:
    """Return the deployments of an environment, oldest first.

    An environment that follows main gets one with each commit of main that is another release.

    Args:
        past: The past.
        environments: All environments.
        verdicts: The verdicts, which know the commits of main and all declared releases.
        environment: The environment.

    """
    if environments.follows(environment):
        declared = [(commit, commit.commit.id, False) for commit in changes(past, verdicts)]
    else:
        declared = [*_declared(past, environment)]
    deployments: list[Deployment] = []
    for number, (change, release, back) in enumerate(declared):
        verdict = verdicts.verified(environment, release)
        rejection = verdicts.rejected(environment, release)
        deployments.append(
            Deployment(
                release,
                change,
                back,
                # A release that comes again was verified before.
                max(change.at, verdict.at) if verdict else None,
                (rejection.at or change.at) if rejection else None,
                number + 1 < len(declared) and declared[number + 1][2],
            )
        )
    return deployments


def changes(past: Past, verdicts: Verdicts) -> list[TrunkCommit]:
    """Return the commits of main that made another release of it, oldest first."""
    found: list[TrunkCommit] = []
    before = None
    for commit in past.trunk:
        if verdicts.identities[commit.commit.id] != before:
            before = verdicts.identities[commit.commit.id]
            found.append(commit)
    return found


def _declared(past: Past, environment: str) -> Sequence[tuple[TrunkCommit, str, bool]]:
    """Return each declaration of another release: the commit of main, the release, whether it went back."""
    path, present = release_file.path_of(environment), ""
    found: list[tuple[TrunkCommit, str, bool]] = []
    for commit in past.trunk:
        for change in commit.changes:
            if change.path != path:
                continue
            release = _read(past, change.after, environment)
            if release is None or release.commit is None or release.commit == present:
                continue
            found.append((commit, release.commit, release.hold is not None and present != ""))
            present = release.commit
    return found


def _read(past: Past, name: str | None, environment: str) -> Release | None:
    """Return a release file; None where it is not valid, as no environment ran that."""
    if name is None or name not in past.contents:
        return None
    try:
        return release_file.parse(past.contents[name], environment, follows=False)
    except ReleaseError:
        return None


def releases(past: Past, environments: Iterable[str]) -> set[str]:
    """Return all releases that main ever declared by their ids."""
    return {release for name in environments for _, release, _ in _declared(past, name)}


def beginning(past: Past) -> datetime:
    """Return the time of the first commit of main."""
    return past.trunk[0].at if past.trunk else datetime.now(UTC)
