"""The release state: the release that `main` declares for each environment, and the verdicts on it."""

from functools import cached_property
from itertools import pairwise

from gitops.errors import ReleaseError, SettingsError
from gitops.git.repository import Repository
from gitops.release import environments, settings
from gitops.release import file as release_file
from gitops.release.environments import Environments
from gitops.release.file import Declaration, Release
from gitops.release.settings import Settings
from gitops.release.signatures import Trust
from gitops.release.verdicts import Verdicts

NO_RELEASE = Release(commit=None)


class ReleaseState:
    """The release files and settings on `main`, and the verdicts, as last fetched from a remote."""

    def __init__(self, repository: Repository, *, remote: str | None = None, main: str = "main") -> None:
        """Read `main` of `remote` as last fetched; without a remote, the local reference `main`."""
        self.repository = repository
        self.remote = remote
        self.main = main
        self.tip = repository.resolve(repository.branch_ref(remote, main) if remote else main)
        self.trust = Trust.load(repository, self.tip, self.environments, remote=remote)
        self.verdicts = Verdicts.load(repository, self.trust, remote=remote, environments=self.environments)

    @classmethod
    def fetch(cls, repository: Repository, remote: str, *, main: str = "main") -> "ReleaseState":
        """Fetch from `remote` first."""
        repository.fetch(remote)
        return cls(repository, remote=remote, main=main)

    def declared(self, environment: str) -> Declaration:
        """Return the present declaration of main.

        Raises:
            ReleaseError: if there is no such environment, or its file is missing or not valid.

        """
        if environment not in self._declared:
            try:
                follows = self.environments[environment].name == self.environments.root
                self._declared[environment] = release_file.declared(
                    self.repository, self.tip, environment, follows=follows
                )
            except ReleaseError as error:
                self._declared[environment] = error
        declaration = self._declared[environment]
        if isinstance(declaration, ReleaseError):
            raise declaration
        return declaration

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
        path = settings.path_of(environment)
        content = self.repository.read(self.tip, path)
        if content is None:
            raise SettingsError(path, "missing on main", "every environment has its settings")
        return Settings.from_file(content, environment)

    @property
    def environments(self) -> Environments:
        """The environments of main; where a change of main broke them, the last ones that were valid."""
        return self._environments[0]

    @property
    def environments_problem(self) -> str | None:
        """The reason why the environments at the tip of main are not valid, or None where they are."""
        return self._environments[1]

    @cached_property
    def _environments(self) -> tuple[Environments, str | None]:
        return environments.latest(self.repository, self.tip)

    @cached_property
    def trunk(self) -> frozenset[str]:
        """The commits that main pointed to, one after the other; the first environment ran these."""
        return frozenset(self.repository.git("rev-list", "--first-parent", self.tip).splitlines())

    @cached_property
    def _declared(self) -> dict[str, Declaration | ReleaseError]:
        return {}

    @cached_property
    def _histories(self) -> dict[str, list[Declaration]]:
        return {}


def last_good(state: ReleaseState, environment: str) -> str | None:
    """Return the last release before the present one that an environment verified; None without one."""
    return next(
        (way for way in earlier(state, environment) if state.verdicts.verified(environment, way)), None
    )


def earlier(state: ReleaseState, environment: str) -> list[str]:
    """Return the releases that an environment can go back to, best first.

    These are the releases that it ran earlier and did not reject; verified releases come first. Releases
    that somebody already rolled back from come no more.
    """
    entries = state.history(environment)
    present = state.present(environment).commit
    left = {
        older.commit
        for newer, older in pairwise(entries)
        if newer.hold is not None and newer.commit != older.commit
    }
    commits = list(dict.fromkeys(entry.commit for entry in entries if entry.commit))
    known = release_file.identities(state.repository, [*commits, *filter(None, [present])])
    state.verdicts.know(commits)
    releases = [
        commit
        for commit in commits
        if commit not in left
        and commit in known
        and known[commit] != known.get(present or "")
        and not state.verdicts.rejected(environment, commit)
    ]
    return sorted(releases, key=lambda commit: state.verdicts.verified(environment, commit) is None)
