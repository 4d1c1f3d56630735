"""Proposals: the commits of release files by which a release reaches an environment.

They obey `gitops.promotion.rules`, by which `gitops check` judges every change of a release file: an edit by
hand cannot do anything that `gitops promote` would refuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gitops.diff.load import load_difference
from gitops.errors import GateError, PushRejectedError
from gitops.git.repository import Repository
from gitops.promotion.judgement import Judgement, RefusedError
from gitops.promotion.migrations import migration
from gitops.release import file as release_file
from gitops.release import runtimes, signatures
from gitops.release.file import Release
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState
from gitops.text import instructions


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


def push(repository: Repository, remote: str, proposal: Proposal) -> None:
    """Push a proposal to its branch, in the place of an earlier one that was fetched.

    Raises:
        PushRejectedError: if somebody else was quicker, or the remote does not let this user push.

    """
    if proposal.known:
        return
    reference = f"refs/heads/{proposal.branch}"
    known = on_remote(repository, remote, proposal.branch)
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


def propose(
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
        if migrated := migration(state, name, present, release):
            lines += f"{migrated}\n{instructions.text(migrated.commands, indent='    ')}\n"
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
    existing = on_remote(repository, remote, branch)
    known = (
        existing is not None
        and _equal(repository, existing, commit)
        and (not sign or signatures.signed(repository, existing))
    )
    return Proposal(
        environment, branch, existing if known and existing else commit, before, after, message, known
    )


def on_remote(repository: Repository, remote: str, branch: str) -> str | None:
    """Return the commit of a branch that was fetched, or None without that branch."""
    reference = repository.branch_ref(remote, branch)
    return repository.resolve(reference) if repository.has(reference) else None


def obey(judgement: Judgement) -> Judgement:
    """Return a judgement without findings, and refuse another one."""
    if judgement.findings:
        raise RefusedError(judgement)
    return judgement


def _equal(repository: Repository, first: str, second: str) -> bool:
    def content(commit: str) -> str:
        return repository.git("show", "--no-patch", "--format=%T %P", commit)

    return content(first) == content(second)


def _canary(release: Release) -> str:
    return f"{release.canary[:12]} at {release.share}%" if release.canary else "none"


def _short(release: Snapshot | None) -> str:
    return release.commit[:12] if release else "no release"


def _accuracy(release: Snapshot | None) -> str:
    try:
        return f"{release.evaluation.mean_accuracy:.4f}" if release else "none"
    except GateError:
        return "none"
