"""Choices: the releases that an environment may serve, best first."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypedDict

from gitops.airflow.demands import Demands
from gitops.errors import ReleaseError
from gitops.findings import Finding
from gitops.release import file as release_file
from gitops.release import runtimes
from gitops.release.file import Declaration
from gitops.release.runtimes import Runtime
from gitops.release.serving import Serving
from gitops.release.state import ReleaseState, earlier
from gitops.text import instructions
from gitops.training import reverification


class _Trial(TypedDict, total=False):
    trial: str
    trial_models: tuple[str, ...]


class Choices:
    """The choices by the state of main.

    Args:
        state: The state.
        demands: The demands of the environment.
        last: The release that was served last.
        fault: The reason why a newer main is not taken, if there is one.

    Attributes:
        due_in: The seconds until a verified release is verified again.

    """

    def __init__(
        self, state: ReleaseState, demands: Demands, last: Serving | None, fault: Finding | None
    ) -> None:
        self.due_in = math.inf
        self._environment = demands.environment
        self._state = state
        self._demands = demands
        self._last = last.commit if last else None
        self._fault = fault or state.main_fault

    def __iter__(self) -> Iterator[Serving]:
        """Yield the releases that may be served, best first, from fetched commits and the last one served."""
        state, environment, demands = self._state, self._environment, self._demands
        declared = None
        # A main that this machine never knew declares nothing.
        refused = str(state.main_fault) if state.main_fault else None
        strict = demands.signatures
        try:
            declaration = state.declared(environment)
            declared = declaration.commit
            if refused is None and declared is None:
                refused = self._taken_away()
            elif refused is None:
                objection = state.may_run(environment, str(declared))
                refused = str(objection) if objection else None
                if refused is None and strict:
                    refused = demands.unsigned_declaration(declaration)
                if refused is None and declared is not None:
                    refused = demands.model_fault(state, declared) or self._other_runtime(declaration)
        except ReleaseError as error:
            refused = refused or str(error)
        if refused is None:
            yield self._serving(declared, declared, str(self._fault) if self._fault else None)
        for commit in dict.fromkeys(self._others(declared)):
            if state.served(environment, commit) is None and self._admits(commit, strict=strict):
                yield self._serving(commit, declared, refused)
        yield self._serving(None, declared, refused)

    def _serving(self, commit: str | None, declared: str | None, refused: str | None) -> Serving:
        unverified = commit is not None and (
            self._state.awaits_verdict(self._environment, commit) or self._is_due_again(commit)
        )
        return Serving(
            environment=self._environment,
            commit=commit,
            declared=declared,
            refused=refused,
            unverified=unverified,
            **self._trial(commit),
        )

    def _trial(self, commit: str | None) -> _Trial:
        state, environment = self._state, self._environment
        declared, release = state.present(environment), state.snapshot(commit) if commit else None
        tried = state.snapshot(declared.trial) if declared.trial else None
        if release is None or tried is None or state.verdicts.rejected(environment, tried.commit):
            return {}
        models = (release.model, tried.model if declared.canary else None)
        return {"trial": tried.commit, "trial_models": tuple(model for model in models if model)}

    def _is_due_again(self, commit: str) -> bool:
        """Return whether a verified release is verified again: on another runtime, or after some time."""
        verdicts, present = self._state.verdicts.every(self._environment, commit), Runtime.present()
        if not verdicts:
            return False
        due, left = reverification.due(
            verdicts,
            present,
            datetime.now(UTC),
            exact=runtimes.on_one_machine(),
            doubted=self._state.verdicts.doubted(self._environment, commit),
        )
        if left is not None:
            self.due_in = min(self.due_in, left.total_seconds())
        return due

    def _taken_away(self) -> str | None:
        """Return why `commit: null` is refused, or None where this environment has run no release yet."""
        if self._ran() is None:
            return None
        path, way = (
            release_file.path_of(self._environment),
            instructions.propose("rollback", self._environment),
        )
        return f"{path}: a release is not removed, only replaced; run: {way}"

    def _other_runtime(self, declaration: Declaration) -> str | None:
        """Return why a release waits for its runtime, or None if this is the one, or one that is as good."""
        named, here = declaration.release.runtime, runtimes.name_here()
        commit, environment = declaration.commit, self._environment
        if named is None or here in (None, named):
            return None
        if self._state.verdicts.verified_by_name(environment, commit, str(here)):
            return None
        problem = f"{str(commit)[:12]} is for the runtime {runtimes.short(named)}"
        return (
            f"{release_file.path_of(environment)}: {problem}, and this Airflow has {runtimes.short(here)}; "
            "roll that runtime out"
        )

    def _ran(self) -> str | None:
        """Return the release that ran last here, else the last declared commit that can be served."""
        declared = (entry.commit for entry in self._state.history(self._environment))
        for commit in (self._last, *declared):
            if commit and self._state.served(self._environment, commit) is None:
                return commit
        return None

    def _admits(self, commit: str, *, strict: bool) -> bool:
        """Whether a commit that is not declared now may be served in place of the declared one."""
        if self._last == commit:
            return True  # It was taken when it was declared, and goes on running.
        if self._demands.model_fault(self._state, commit):
            return False
        return not (strict and self._demands.unsigned(self._state, commit))

    def _others(self, declared: str | None) -> Iterator[str]:
        """Yield the releases that could be served in place of the declared one, best first.

        A rejected release gives way only to one that ran and was verified here; without one it stays.
        """
        state, environment, verdicts, last = self._state, self._environment, self._state.verdicts, self._last
        if last and last != declared:
            judged = verdicts.rejected(environment, last) or verdicts.verified(environment, last)
            # The declared one never took its place: it stays at least until it has a verdict of its own.
            if not judged:
                yield last
        candidates = (last, state.present(environment).commit, self._ran())
        if state.main_fault:
            verified = (verdict.release for verdict in reversed(verdicts.verifications(environment)))
            candidates = (last, *verified)
        runs = [commit for commit in candidates if commit]
        if not verdicts.rejected(environment, declared):
            yield from (commit for commit in runs if not verdicts.rejected(environment, commit))
        before = earlier(state, environment)
        # A release that was verified on another runtime alone may be as bad here.
        here = Runtime.present()
        yield from (commit for commit in before if verdicts.verified_on(environment, commit, here))
        yield from runs
        yield from before
