"""The release state: the release that `main` declares for each environment, and the verdicts on it.

It is a value, and asks git for nothing: `gitops.release.load` reads it, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Self

from gitops.errors import ReleaseError
from gitops.findings import Finding
from gitops.paths import EVALUATION
from gitops.release import main_line
from gitops.release.approvals import NO_APPROVALS, Approvals
from gitops.release.environments import Environments
from gitops.release.file import Declaration, Release
from gitops.release.main_line import Known
from gitops.release.may_run import lost_data, may_run, served
from gitops.release.runtimes import Runtime
from gitops.release.settings import Settings
from gitops.release.signatures import Lists
from gitops.release.snapshot import Snapshot
from gitops.release.verdicts import Verdicts
from gitops.text.markdown import one_line

NO_RELEASE = Release(commit=None)


@dataclass(frozen=True)
class ReleaseState:
    """The release files and settings on `main`, and the verdicts, as last fetched from a remote.

    Attributes:
        main: The newest commit of main.
        environments: The environments of main; where a change broke them, the last ones that were valid.
        environments_problem: The reason why those at the tip of main are not valid, or None where they are.
        lists: The people and the keys whose signatures count.
        verdicts: The verdicts.
        declarations: The present declaration of each environment, or the fault of its file.
        histories: The valid declarations of each environment, newest first.
        snapshots: The commits that were read, by their ids; None for one that is not here.
        parents: The parents of each commit that main has.
        known: Commits that main is known to have pointed to.
        approvals: The approvals of releases, for the environments that ask for some.
        remote: The remote; None for a repository whose own main it is.

    """

    main: Snapshot
    environments: Environments
    environments_problem: Finding | None
    lists: Lists
    verdicts: Verdicts
    declarations: Mapping[str, Declaration | ReleaseError]
    histories: Mapping[str, tuple[Declaration, ...]]
    snapshots: Mapping[str, Snapshot | None]
    parents: Mapping[str, tuple[str, ...]]
    known: tuple[Known, ...] = ()
    approvals: Approvals = NO_APPROVALS
    remote: str | None = None

    @property
    def tip(self) -> str:
        """The id of the newest commit of main."""
        return self.main.commit

    def adding(self, snapshots: Mapping[str, Snapshot | None]) -> Self:
        """Return this state with more commits, so that it can be asked about them."""
        verdicts = self.verdicts.adding(snapshots)
        return replace(self, snapshots={**self.snapshots, **snapshots}, verdicts=verdicts)

    def on(self, environment: str, runtime: Runtime | str | None) -> Self:
        """Return this state, asked about a runtime of an environment, or its name; None changes nothing."""
        return replace(self, verdicts=self.verdicts.on(environment, runtime)) if runtime else self

    def snapshot(self, commit: str) -> Snapshot | None:
        """Return the files of a commit that was read, given by its full id; None where it is not here."""
        return self.snapshots[commit]

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Return whether a commit of main is another one, or came before it."""
        passed: set[str] = set()
        waiting = [descendant]
        while waiting:
            commit = waiting.pop()
            if commit == ancestor:
                return True
            if commit not in passed:
                passed.add(commit)
                waiting += self.parents.get(commit, ())
        return False

    def same(self, first: str | None, second: str | None) -> bool:
        """Return whether two commits are the same release; None (no release) is only the same as None."""
        if first is None or second is None or first == second:
            return first == second
        before, after = self.snapshot(first), self.snapshot(second)
        return before is not None and after is not None and before.identity == after.identity

    def may_run(self, environment: str, commit: str) -> Finding | None:
        """Return the reason why a commit may not run in an environment, or None if it may."""
        rejection, on_main = self.verdicts.rejected(environment, commit), self._on_main(environment, commit)
        tag = f"{rejection.name}: {reason_of(rejection.message)}" if rejection else None
        return may_run(environment, commit, self.snapshot(commit), on_main=on_main, rejection=tag)

    def lost_data(self, environment: str, commit: str) -> Finding | None:
        """Return the reason why main may not declare a release that lost data; None if it lost none."""
        try:
            forgotten = self.main.forgotten
        except ReleaseError as error:
            return error.finding
        return lost_data(environment, self.snapshot(commit), forgotten)

    def served(self, environment: str, commit: str) -> Finding | None:
        """Return the reason why this runtime cannot serve a commit, whatever its verdict; None if it can."""
        on_main = self._on_main(environment, commit)
        return served(environment, commit, self.snapshot(commit), on_main=on_main)

    def awaits_verdict(self, environment: str, commit: str) -> bool:
        """Return whether a release has a model, and an environment still has to give its verdict."""
        snapshot = self.snapshot(commit)
        if snapshot is None or snapshot.contents[EVALUATION] is None:
            return False
        return not (
            self.verdicts.verified(environment, commit) or self.verdicts.rejected(environment, commit)
        )

    def _on_main(self, environment: str, commit: str) -> bool:
        """Return whether main has a commit; of a main that is not the known one, whether it had it."""
        return commit in self.parents or (
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

    def has(self, environment: str, commit: str | None, runtime: str | None = None) -> bool:
        """Return whether an environment has the release of a commit already, on a runtime if one is named.

        It has not where main has its release no more: after a rewrite of main, the same release comes again
        under another id.
        """
        release = self.present(environment)
        if runtime is not None and runtime != release.runtime:
            return False
        present = release.commit
        return self.same(present, commit) and (present is None or present in self.parents)

    def declared(self, environment: str) -> Declaration:
        """Return the present declaration of main.

        Raises:
            ReleaseError: if there is no such environment, or its file is missing or not valid.

        """
        declaration = self.declarations[self.environments[environment].name]
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

    def wanted(self, environment: str) -> str | None:
        """Return the commit that an environment should run; None before its first release."""
        return self.tip if self.environments.follows(environment) else self.present(environment).commit

    def history(self, environment: str) -> tuple[Declaration, ...]:
        """Return the declarations of an environment on main, newest first."""
        return self.histories.get(environment, ())

    def settings(self, environment: str) -> Settings:
        """Return an environment's settings on main: a change cannot lower the bar for itself.

        Raises:
            SettingsError: if they are missing or not valid.

        """
        return self.main.settings(environment)

    @cached_property
    def main_fault(self) -> Finding | None:
        """The reason why main is not the line that is known here, or None if it is.

        A repository knows the commit that it saw last. On a new machine the newest release that each
        environment verified shows it.
        """
        remote, known = self.remote or "origin", [*self.known]
        for environment in self.environments:
            if verified := self.verdicts.verifications(environment):
                # Without the last one, the one before it would show the same.
                tags = [
                    f"refs/tags/{verdict.tag}" for verdict in verified if verdict.release not in self.trunk
                ]
                forget = f"git push {remote} --delete {' '.join(tags)}"
                known.append(Known(verified[-1].release, f"which {environment} verified last", forget))
        return main_line.fault(self.tip, self.trunk, self.parents.keys(), known, remote)

    @cached_property
    def trunk(self) -> frozenset[str]:
        """The commits that main pointed to, one after the other; the first environment ran these."""
        return frozenset(main_line.trunk(self.tip, self.parents))


def reason_of(message: str) -> str:
    """Return the reason of a verdict from its message, which begins `rejected in dev: `."""
    first = one_line(message.partition("\n")[0])
    return first.partition(": ")[2] or first


def last_good(state: ReleaseState, environment: str) -> str | None:
    """Return the last release before the present one that an environment verified; None without one."""
    return next(
        (way for way in earlier(state, environment) if state.verdicts.verified(environment, way)), None
    )


def trusted(state: ReleaseState, environment: str, commit: str) -> bool:
    """Return whether an environment may run a model beside its release.

    Its commit is one that main pointed to, an environment before this one verified it, and this one did not
    reject it. So no file that nobody merged, and none that was never loaded elsewhere, is loaded here.
    """
    return (
        commit in state.trunk
        and any(state.verdicts.verified(name, commit) for name in state.environments.chain(environment))
        and state.verdicts.rejected(environment, commit) is None
    )


def is_rollback(state: ReleaseState, environment: str) -> bool:
    """Return whether an environment has its present release because somebody rolled back to it."""
    changes = (newer for newer, older in pairwise(state.history(environment)) if newer.commit != older.commit)
    newest = next(changes, None)
    return newest is not None and newest.hold is not None


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
    releases = [
        commit
        for commit in state.ran(environment)
        if commit not in left
        and not state.same(commit, present)
        and state.may_run(environment, commit) is None
        and state.lost_data(environment, commit) is None
    ]
    return sorted(releases, key=lambda commit: state.verdicts.verified(environment, commit) is None)
