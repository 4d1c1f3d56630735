"""The DAG bundle by which an Airflow pulls its own release.

At every refresh it fetches `main`, reads `environments/<env>/release.yaml` there and checks out the commit
that the file names. Whatever cannot be run is refused with one clear line in the log, and the last good
release stays.
"""

# The provider has no types.
# pyright: reportMissingTypeStubs=false

import math
import os
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

import structlog
from airflow.dag_processing.bundles.base import BundleVersion
from airflow.providers.git.bundles.git import GitDagBundle
from git import Repo

from gitops.airflow import admission, checkout, health_watch, notice
from gitops.airflow.admission import Admission, Examine
from gitops.airflow.board import BoardReferences
from gitops.airflow.choices import Choices
from gitops.airflow.demands import EARLIER, Demands
from gitops.airflow.health_watch import HealthWatch, Observe
from gitops.errors import CheckoutError, GitError, GitopsError, ReleaseError
from gitops.git import config as git_config
from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.paths import MAIN
from gitops.release import checks
from gitops.release import file as release_file
from gitops.release import serving as serving_file
from gitops.release.checks import Check
from gitops.release.load import load_state
from gitops.release.main_line import Known
from gitops.release.runtimes import Runtime
from gitops.release.serving import Serving
from gitops.release.signatures import Trust
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState, is_rollback
from gitops.training import verification

log = structlog.get_logger(__name__)

_INCOMING = "refs/gitops/incoming/main"
_FETCH_TIMEOUT = 60
_AGAIN = 60
"""Seconds after which a release is examined again that the environment could not examine."""


class ReleaseBundle(GitDagBundle):
    """Serves the DAGs of the release that `main` declares for an environment.

    Args:
        environment: The name of the environment.
        subdir: The folder of the repository that holds the DAGs.
        git_conn_id: The Airflow connection with the address of the repository.
        examine: The checks of a release before it runs.
        observe: Returns the signs of a release that runs; None to watch nothing.
        kwargs: `name`, `version`, `refresh_interval` (seconds) and the other arguments of every bundle.

    A bundle with a `version`, as a task of a run in flight uses it, serves exactly that commit.

    """

    def __init__(
        self,
        *,
        environment: str,
        subdir: str = "dags",
        git_conn_id: str = "git_default",
        examine: Examine = admission.examine,
        observe: Observe | None = health_watch.from_database,
        **kwargs: Any,
    ) -> None:
        release_file.path_of(environment)
        super().__init__(  # pyright: ignore[reportUnknownMemberType] its kwargs have no type
            tracking_ref="main", subdir=subdir, git_conn_id=git_conn_id, **kwargs
        )
        self.environment = environment
        self._said: dict[str, str] = {}
        self._seen: str | None = None
        self._state: ReleaseState | None = None
        self._tags: str | None = None
        self._accepted: ReleaseState | None = None
        self._judged: ReleaseState | None = None
        self._examine = examine
        self._admitted: Admission = Admission()
        # `airflow dags test` ends with its run: nobody would look at the release, and its verification wait.
        tested = sys.argv[1:3] == ["dags", "test"]
        self._health = HealthWatch(self.base_dir, None if tested else observe)
        self._refused: dict[str, Admission] = {}
        """Releases that failed their examination."""
        self._recorded: set[str] = set()
        """Those of them whose rejection git has."""
        self._board = BoardReferences()
        self._again = math.inf
        self._unnoticed = True

    def __repr__(self) -> str:
        return (
            f"<ReleaseBundle(name={self.name!r}, environment={self.environment!r}, version={self.version!r})>"
        )

    @property
    def serving(self) -> Serving | None:
        """The release that is served, as last recorded; None if no release has been served yet."""
        try:
            return serving_file.read(self.base_dir)
        except ReleaseError as error:
            self._say("state", f"{error}; the release that ran last is not known")
            return None

    def get_current_version(self) -> BundleVersion:
        if self.version:
            return BundleVersion(version=self.version)
        return BundleVersion(version=Repository(self.repo_path).resolve("HEAD"))

    def refresh(self) -> None:
        if self.version:
            super().refresh()  # raises, since a version is never refreshed
        self._update()
        self._step()

    def _update(self) -> None:
        bare = Repository(self.bare_repo_path)
        with bare.reading():
            self._follow(bare)

    def _follow(self, bare: Repository) -> None:
        with self.lock():
            self._bring(bare)
            if "remote" not in self._said:
                with self.hook.configure_hook_env() if self.hook else nullcontext():
                    self._board.fetch(bare, str(self.repo_url), self.hook.env if self.hook else None)
            refs = bare.git("for-each-ref", "--format=%(objectname) %(refname)")
            known = refs == self._seen and time.monotonic() < self._again
            self._again = self._again if known else math.inf
            choices = None if known else self._choices(bare)
            waiting = iter(choices or ())
            first = next(waiting, None)
        if choices is None or first is None:
            self._notice(bare)
            return
        # A release is examined without the lock: tasks that begin meanwhile need the copy.
        self._serve(bare, chain([first], waiting))
        self._again = min(self._again, time.monotonic() + choices.due_in)
        self._seen = refs

    def _initialize(self) -> None:
        if self.version:
            with git_config.applied(self.base_dir):
                super()._initialize()
            return
        self._seen = None
        self._update()

    # The provider's function has the attributes of a decorator, which are not used.
    def _clone_bare_repo_if_required(self) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Make the bare copy for a `version`, called by the provider. A commit that is here needs no remote.

        The provider's own would delete its copy when the remote is down.
        """
        repository = Repository(self.bare_repo_path)
        if not (self.version and checkout.usable(repository) and repository.has(self.version)):
            self._bring(repository)
        self.bare_repo = Repo(repository.path)

    def _fetch_bare_repo(self) -> None:
        self._fetch(Repository(self.bare_repo_path))

    def _bring(self, bare: Repository) -> None:
        """Bring the copy of the remote up to date where the remote answers.

        Raises:
            GitError: if there is no copy yet and none can be made.

        """
        if not checkout.usable(bare):
            checkout.make_bare(bare.path, str(self.repo_url), str(self.subdir), self._fetch)
            return
        try:
            self._fetch(bare)
        except GitError as error:
            self._say("remote", f"{error}; the served release stays until the remote answers")
        else:
            if self._said.pop("remote", None):
                log.info("%s answers again", self.repo_url)

    def _fetch(self, bare: Repository) -> None:
        verdicts = [
            f"+refs/tags/{kind}/{self.environment}/*:refs/tags/{kind}/{self.environment}/*"
            for kind in ("verified", "rejected")
        ]
        if bare.has(MAIN) and Demands(self.environment, bare, Trust.load(bare, MAIN, ())).vouchers:
            tags = f"{bare.namespace(EARLIER)}/tags"
            verdicts += [f"+refs/tags/{kind}/*:{tags}/{kind}/*" for kind in ("verified", "rejected")]
        self._accepted = None
        with self.hook.configure_hook_env() if self.hook else nullcontext():
            bare.fetch_refs(
                str(self.repo_url),
                f"+{MAIN}:{_INCOMING}",
                *verdicts,
                env=self.hook.env if self.hook else None,
                timeout=_FETCH_TIMEOUT,
            )
        fetched = self._successor(bare)
        main, incoming = bare.object_ids([MAIN, _INCOMING])
        if main is None and incoming:
            bare.git("update-ref", MAIN, incoming)
        elif fetched is not None and fetched.main_fault is None:
            bare.git("update-ref", MAIN, fetched.tip)
            self._accepted = fetched

    def _successor(self, bare: Repository) -> ReleaseState | None:
        """Return the state by the fetched main, or None if it is the one that is known here.

        Its `main_fault` is the reason why it does not take the place of that one.
        """
        main, fetched = bare.object_ids([MAIN, _INCOMING])
        if main is None or fetched in (None, main):
            return None
        tags = _tags(bare)
        same = self._state and self._state.tip == main and self._tags == tags
        known = self._state if self._state and same else self._load(bare, MAIN, tags)
        # On a new machine the first main may have been the wrong one. It binds nobody.
        before = None if known.main_fault else Known(known.tip, "which it pointed to", f"rm -r {bare.path}")
        return self._load(bare, _INCOMING, tags, before)

    def _load(self, bare: Repository, main: str, tags: str, known: Known | None = None) -> ReleaseState:
        last, self._tags = self.serving, tags
        commits = [last.commit if last else None]
        state = load_state(bare, main=main, known=known, commits=commits, earlier=self._state)
        self._state = state.on(self.environment, Runtime.present())
        return self._state

    def _choices(self, bare: Repository) -> Choices:
        # A main that was just accepted has been read with the verdicts that were fetched with it.
        state, self._accepted = self._accepted or self._load(bare, MAIN, _tags(bare)), None
        self._judged = state
        demands = Demands(self.environment, bare, Trust.load(bare, state.tip, state.environments))
        successor = self._successor(bare)
        return Choices(state, demands, self.serving, successor.main_fault if successor else None)

    def _serve(self, bare: Repository, choices: Iterable[Serving]) -> None:
        """Serve the first of `choices` that can be checked out."""
        # Whoever deletes the tag of a rejection wants the release to be examined again.
        for commit in self._recorded:
            del self._refused[commit]
        self._recorded.clear()
        trouble: str | None = None
        for choice in choices:
            serving = choice.model_copy(update={"refused": choice.refused or trouble})
            if serving.commit and (objection := self._objection(bare, serving.commit)):
                trouble = trouble or objection
                continue
            known = self._health.known_errors() if self._is_new(serving) else None
            try:
                with self.lock():
                    # The first time in this process repairs a checkout that a killed process left half done.
                    target, repair = serving.commit or bare.resolve(checkout.EMPTY), self._seen is None
                    checkout.place(bare, Repository(self.repo_path), target, self.path, repair=repair)
                    self._watch(serving, known)
                    self._record(bare, serving)
            except (CheckoutError, GitError) as error:
                if serving.commit is None:
                    raise
                trouble = trouble or f"{serving.commit}: cannot be checked out: {error}"
                continue
            return

    def _is_new(self, serving: Serving) -> bool:
        """Whether a release that has no verdict yet comes in the place of another one."""
        last, state, name = self.serving, self._judged, self.environment
        if state is None or serving.commit is None or serving.commit != serving.declared or serving.refused:
            return False
        if state.verdicts.verified(name, serving.commit) or state.verdicts.rejected(name, serving.commit):
            return False
        return not state.same(last.commit if last else None, serving.commit)

    def _watch(self, serving: Serving, known: list[str] | None) -> None:
        last, state = self.serving, self._judged
        if self._is_new(serving):
            before = last.commit if last else None
            self._health.begin(str(serving.commit), before, known, self._admitted.checks)
        elif serving.commit and last and state and state.same(last.commit, serving.commit):
            self._health.go_on(str(last.commit), serving.commit)

    def _step(self) -> None:
        """Look how the release does, and reject it if it does worse than the one before."""
        last, state = self.serving, self._judged
        if last is None or state is None or last.commit is None:
            return
        name, commit = self.environment, last.commit
        verified, rejected = (
            state.verdicts.verified(name, commit) is not None,
            state.verdicts.rejected(name, commit) is not None,
        )
        ill = [self._said["remote"]] if "remote" in self._said else []
        found = self._health.step(commit, ill, verified=verified, rejected=rejected)
        if found is None:
            return
        if found.state == "errored":
            self._say("health", f"{last.commit[:12]}: nothing is known of its health: {found.ill}")
        if found.state != "failed" or rejected:
            return
        reason = checks.failures(found.checks)
        if is_rollback(state, self.environment):
            # Whoever went back to it had a reason, and there may be nothing better.
            self._say("health", f"{last.commit[:12]}: does worse, and stays, as it is a rollback: {reason}")
            return
        self._reject(Repository(self.bare_repo_path), last.commit, reason, found.all_checks)

    def _objection(self, bare: Repository, commit: str) -> str | None:
        """Return why a release that does not run here yet may not begin to run, or None if it may.

        A release that this environment verified before is not examined: to go back to it must work while the
        DVC remote is down.
        """
        last, state = self.serving, self._judged
        runs = last.commit if last else None
        if state is None or state.same(runs, commit) or state.verdicts.verified(self.environment, commit):
            return None
        found = self._refused.get(commit) or self._examine(bare, commit, runs, self.base_dir)
        if found.trouble:
            self._again = time.monotonic() + _AGAIN
            return f"{commit[:12]}: cannot be examined now: {found.trouble}"
        if not found.objection:
            self._admitted = found
            return None
        self._refused[commit] = found
        if commit not in self._recorded and self._reject(bare, commit, found.objection, found.checks):
            self._recorded.add(commit)
        return f"{commit[:12]}: refused before it ran: {found.objection}"

    def _reject(self, bare: Repository, commit: str, reason: str, failed: Sequence[Check]) -> bool:
        """Push the verdict on a release that failed its examination, or does worse than the one before.

        Returns:
            Whether git has it.

        """
        snapshot = Snapshot.load(bare, commit)
        claim = snapshot.evaluation if snapshot.model else None
        verdict = verification.refused(commit, self.environment, claim, reason, failed)
        origin = Origin(str(self.repo_url), session=self._session)
        try:
            verification.publish(origin, verdict, mirror=self.base_dir / "verdicts")
        except GitopsError as error:
            self._say("verdict", f"{verdict.tag}: not recorded: {error}")
            return False
        self._said.pop("verdict", None)
        return True

    @contextmanager
    def _session(self) -> Generator[None]:
        """Give this process the login of the connection."""
        with self.hook.configure_hook_env() if self.hook else nullcontext():
            before = dict(os.environ)
            os.environ.update(self.hook.env if self.hook else {})
            try:
                yield
            finally:
                os.environ.clear()
                os.environ.update(before)

    def _record(self, bare: Repository, serving: Serving) -> None:
        before = self.serving
        serving = notice.kept(bare, self._judged, serving, before)
        self._unnoticed = self._unnoticed or before is None or before.commit != serving.commit
        if before != serving:
            serving_file.write(self.base_dir, serving)
        shown = f"release {serving.commit[:12]}" if serving.commit else "no release"
        if serving.refused:
            self._say("release", f"{serving.refused}: refused; {self.environment} runs {shown}")
        else:
            self._said.pop("release", None)
            if before is None or before.commit != serving.commit:
                log.info("%s runs %s", self.environment, shown)

    def _notice(self, bare: Repository) -> None:
        """Add the notice to the release that is served, at the first refresh after it came."""
        last = self.serving
        if self._unnoticed and last is not None:
            serving_file.write(self.base_dir, notice.added(bare, last))
        self._unnoticed = False

    def _say(self, subject: str, message: str) -> None:
        """Log a message, once for as long as it stays the same."""
        if self._said.get(subject) != message:
            log.warning("%s", message)
            self._said[subject] = message


def _tags(bare: Repository) -> str:
    """Return the verdicts that were fetched: a change of them may show that main is the wrong one."""
    return bare.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/tags/")
