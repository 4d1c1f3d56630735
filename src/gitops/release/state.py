"""The release state: the release that `main` declares for each environment, and the verdicts on it.

It reads git on behalf of the rules, once for each commit, history and verdict that they ask for.
"""

from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise

from gitops.dvc import provenance
from gitops.dvc.provenance import Provenance
from gitops.errors import GitError, ReleaseError
from gitops.findings import Finding
from gitops.git.repository import Repository
from gitops.release import file as release_file
from gitops.release import main_line
from gitops.release.environments import Environments
from gitops.release.file import Declaration, Release
from gitops.release.main_line import Known
from gitops.release.may_run import may_run, served
from gitops.release.settings import Settings
from gitops.release.signatures import Trust
from gitops.release.snapshot import Snapshot, latest
from gitops.release.verdicts import Verdicts

NO_RELEASE = Release(commit=None)


class ReleaseState:
    """The release files and settings on `main`, and the verdicts, as last fetched from a remote."""

    def __init__(
        self,
        repository: Repository,
        *,
        remote: str | None = None,
        main: str = "main",
        known: Known | None = None,
    ) -> None:
        """Read `main` of `remote` as last fetched; without a remote, the local reference `main`.

        Args:
            repository: The repository.
            remote: The remote.
            main: The branch, or a reference.
            known: A commit that main is known to have pointed to.

        """
        self.repository = repository
        self._known = known
        self.remote = remote
        try:
            self.tip = repository.resolve(repository.branch_ref(remote, main) if remote else main)
        except GitError as error:
            raise GitError(_without_main(repository, remote, main)) from error
        self.main = Snapshot.load(repository, self.tip)
        self._snapshots: dict[str, Snapshot | None] = {self.tip: self.main}
        self._declared: dict[str, Declaration | ReleaseError] = {}
        self._histories: dict[str, list[Declaration]] = {}
        self.trust = Trust.load(repository, self.tip, self.environments, remote=remote)
        self.verdicts = Verdicts.load(repository, self.trust, remote=remote, environments=self.environments)

    @classmethod
    def fetch(cls, repository: Repository, remote: str, *, main: str = "main") -> "ReleaseState":
        """Fetch from `remote` first, and remember the commit of main if nothing is wrong with it."""
        repository.fetch(remote)
        reference = f"{repository.namespace(remote)}/known/{main}"
        known = None
        if before := repository.object_ids([reference])[0]:
            known = Known(before, "which it pointed to", f"git update-ref -d {reference}")
        state = cls(repository, remote=remote, main=main, known=known)
        if (known is None or known.commit != state.tip) and state.main_fault is None:
            repository.git("update-ref", reference, state.tip)
        return state

    def snapshot(self, commit: str) -> Snapshot | None:
        """Return the files of a commit, given by its full id; None where it is not here."""
        if commit not in self._snapshots:
            self.know([commit])
        return self._snapshots[commit]

    def know(self, commits: Iterable[str]) -> dict[str, Snapshot]:
        """Read many commits at once, so that asking about each is quick; return those that are here."""
        asked = list(commits)
        new = [commit for commit in asked if commit not in self._snapshots]
        self._snapshots |= dict.fromkeys(new) | Snapshot.load_all(self.repository, new)
        self.verdicts.know(new)
        return {commit: release for commit in asked if (release := self._snapshots[commit])}

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Return whether a commit is another one, or came before it."""
        return self.repository.is_ancestor(ancestor, descendant)

    def same(self, first: str | None, second: str | None) -> bool:
        """Return whether two commits are the same release; None (no release) is only the same as None."""
        if first is None or second is None or first == second:
            return first == second
        one, other = self.snapshot(first), self.snapshot(second)
        return one is not None and other is not None and one.identity == other.identity

    def may_run(self, environment: str, commit: str) -> Finding | None:
        """Return the reason why a commit may not run in an environment, or None if it may."""
        rejection, on_main = self.verdicts.rejected(environment, commit), self._on_main(environment, commit)
        return may_run(environment, commit, self.snapshot(commit), on_main=on_main, rejection=rejection)

    def served(self, environment: str, commit: str) -> Finding | None:
        """Return the reason why this runtime cannot serve a commit, whatever its verdict; None if it can."""
        on_main = self._on_main(environment, commit)
        return served(environment, commit, self.snapshot(commit), on_main=on_main)

    def _on_main(self, environment: str, commit: str) -> bool:
        """Return whether main has a commit; of a main that is not the known one, whether it had it."""
        return commit in self.commits or (
            self.main_fault is not None and self.verdicts.verified(environment, commit) is not None
        )

    def ran(self, environment: str) -> list[str]:
        """Return the releases that an environment ran, newest first.

        They are those that main declared for it, and those that it verified: a main that somebody pushed in
        another order of parents does not change them.
        """
        declared = [entry.commit for entry in self.history(environment) if entry.commit]
        verified = [verdict.release for verdict in reversed(self.verdicts.verifications(environment))]
        return list(dict.fromkeys([*declared, *verified]))

    def has(self, environment: str, commit: str | None) -> bool:
        """Return whether an environment has the release of a commit already.

        It has not where main has its release no more: after a rewrite of main, the same release comes again
        under another id.
        """
        present = self.present(environment).commit
        return self.same(present, commit) and (present is None or present in self.commits)

    def provenance(self, commit: str) -> Provenance:
        """Return how the model of a commit was made.

        Raises:
            ProvenanceError: if DVC cannot read the commit.

        """
        return provenance.of_commit(self.repository, commit)

    def declared(self, environment: str) -> Declaration:
        """Return the present declaration of main.

        Raises:
            ReleaseError: if there is no such environment, or its file is missing or not valid.

        """
        if environment not in self._declared:
            try:
                self._declared[environment] = self._declaration(environment)
            except ReleaseError as error:
                self._declared[environment] = error
        declaration = self._declared[environment]
        if isinstance(declaration, ReleaseError):
            raise declaration
        return declaration

    def _declaration(self, environment: str) -> Declaration:
        follows = self.environments.follows(self.environments[environment].name)
        path = release_file.path_of(environment)
        release = self.main.release(environment, follows=follows)
        if release is None:
            raise ReleaseError(path, "missing on main", release_file.remedy(follows))
        changes = [] if follows else self.repository.log(self.tip, path, options=("--first-parent", "-1"))
        by = changes[0] if changes else self.repository.commit_info(self.tip)
        return Declaration(environment, release, by.id if release.follow else release.commit, by.id, by.at)

    def present(self, environment: str) -> Release:
        """Return the release that main declares; where that is not valid, the last one that was."""
        try:
            return self.declared(environment).release
        except ReleaseError:
            history = self.history(environment)
            return history[0].release if history else NO_RELEASE

    def history(self, environment: str) -> list[Declaration]:
        """Return the declarations of an environment on main, newest first."""
        if environment not in self.environments:
            return []
        if environment not in self._histories:
            follows = self.environments.follows(environment)
            self._histories[environment] = release_file.history(
                self.repository, self.tip, environment, follows=follows
            )
        return self._histories[environment]

    def settings(self, environment: str) -> Settings:
        """Return an environment's settings on main: a change cannot lower the bar for itself.

        Raises:
            SettingsError: if they are missing or not valid.

        """
        return self.main.settings(environment)

    @property
    def environments(self) -> Environments:
        """The environments of main; where a change of main broke them, the last ones that were valid."""
        return self._environments[0]

    @property
    def environments_problem(self) -> Finding | None:
        """The reason why the environments at the tip of main are not valid, or None where they are."""
        return self._environments[1]

    @cached_property
    def _environments(self) -> tuple[Environments, Finding | None]:
        return latest(self.repository, self.main)

    @cached_property
    def main_fault(self) -> Finding | None:
        """The reason why main is not the line that is known here, or None if it is.

        This repository knows the commit that it saw last. On a new machine the newest release that each
        environment verified shows it.
        """
        remote, known = self.remote or "origin", [self._known] if self._known else []
        for environment in self.environments:
            if verified := self.verdicts.verifications(environment):
                # Without the last one, the one before it would show the same.
                tags = [
                    f"refs/tags/{verdict.tag}" for verdict in verified if verdict.release not in self.trunk
                ]
                forget = f"git push {remote} --delete {' '.join(tags)}"
                known.append(Known(verified[-1].release, f"which {environment} verified last", forget))
        return main_line.fault(self.tip, self.trunk, self.commits, known, remote)

    @cached_property
    def trunk(self) -> frozenset[str]:
        """The commits that main pointed to, one after the other; the first environment ran these."""
        return frozenset(self.repository.git("rev-list", "--first-parent", self.tip).splitlines())

    @cached_property
    def commits(self) -> frozenset[str]:
        """The commits that main has, those of merged branches too."""
        return frozenset(self.repository.git("rev-list", self.tip).splitlines())


def _without_main(repository: Repository, remote: str | None, main: str) -> str:
    """Return the message for a repository without a branch `main`, with the branches that it has."""
    if remote is None:
        return f"{repository.path}: has no branch {main}"
    folder = f"{repository.namespace(remote)}/heads/"
    branches = repository.git("for-each-ref", "--count=6", "--format=%(refname)", folder).splitlines()
    names = ", ".join(name.removeprefix(folder) for name in branches[:5]) + " ..." * (len(branches) > 5)
    return (
        f"{remote} has no branch {main}, which declares the releases (it has: {names or 'no branches'}); "
        f"rename it back on the forge, or push it: git push {remote} <branch>:refs/heads/{main}"
    )


def last_good(state: ReleaseState, environment: str) -> str | None:
    """Return the last release before the present one that an environment verified; None without one."""
    return next(
        (way for way in earlier(state, environment) if state.verdicts.verified(environment, way)), None
    )


def earlier(state: ReleaseState, environment: str) -> list[str]:
    """Return the releases that an environment can go back to, best first.

    These are the releases that it ran earlier and that may run there; verified releases come first. Releases
    that somebody already rolled back from come no more.
    """
    entries = state.history(environment)
    present = state.present(environment).commit
    left = {
        older.commit
        for newer, older in pairwise(entries)
        if newer.hold is not None and newer.commit != older.commit
    }
    commits = state.ran(environment)
    state.know(commits)
    releases = [
        commit
        for commit in commits
        if commit not in left
        and not state.same(commit, present)
        and state.may_run(environment, commit) is None
    ]
    return sorted(releases, key=lambda commit: state.verdicts.verified(environment, commit) is None)
