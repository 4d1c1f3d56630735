"""The DAG bundle by which an Airflow pulls its own release.

At every refresh it fetches `main`, reads `environments/<env>/release.yaml` there and checks out the commit
that the file names. Whatever cannot be run is refused with one clear line in the log, and the last good
release stays.
"""

# The provider has no types.
# pyright: reportMissingTypeStubs=false

import math
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import structlog
from airflow.dag_processing.bundles.base import BundleVersion
from airflow.providers.git.bundles.git import GitDagBundle
from git import Repo

from gitops.airflow import admission, health_watch
from gitops.airflow.admission import Admission, Examine
from gitops.airflow.health_watch import HealthWatch, Observe
from gitops.dvc import provenance
from gitops.errors import CheckoutError, GitError, GitopsError, LicencesError, ReleaseError, SettingsError
from gitops.git import config as git_config
from gitops.git import trial_checkout
from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.paths import MAIN
from gitops.release import checks, environments, licences, runtimes, settings, signatures, vouchers
from gitops.release import file as release_file
from gitops.release import serving as serving_file
from gitops.release.checks import Check
from gitops.release.file import Declaration
from gitops.release.licences import Use
from gitops.release.load import load_state
from gitops.release.main_line import Known
from gitops.release.runtimes import Runtime
from gitops.release.serving import Serving
from gitops.release.signatures import Trust
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState, earlier, is_rollback
from gitops.release.verdicts import Verdicts
from gitops.text import instructions
from gitops.training import reverification, verification

log = structlog.get_logger(__name__)

_INCOMING = "refs/gitops/incoming/main"
_EMPTY = "refs/gitops/empty"
_FETCH_TIMEOUT = 60
_AGAIN = 60
"""Seconds after which a release is examined again that the environment could not examine."""
_SIGNED = "REQUIRE_SIGNED_RELEASES"
_USE = "USE"
_EARLIER = "earlier"
"""The name under which the verdicts of earlier environments are kept."""

# Fixed, so that the empty release has the same id everywhere.
_NOBODY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "Visage"), ("EMAIL", "visage@localhost"), ("DATE", "2000-01-01T00:00:00Z"))
}


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
        self._health = HealthWatch(self.base_dir, observe)
        self._refused: dict[str, Admission] = {}
        """Releases that failed their examination."""
        self._recorded: set[str] = set()
        """Those of them whose rejection git has."""
        self._again = math.inf

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
        with self.lock():
            bare = self._bare()
            refs = bare.git("for-each-ref", "--format=%(objectname) %(refname)")
            if refs == self._seen and time.monotonic() < self._again:
                return
            self._again = math.inf
            choices = self._choose(bare)
            first = next(choices)  # which reads the state
        # A release is examined without the lock: tasks that begin meanwhile need the copy.
        self._serve(bare, chain([first], choices))
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
        if not (self.version and self._usable(repository) and repository.has(self.version)):
            repository = self._bare()
        self.bare_repo = Repo(repository.path)

    def _fetch_bare_repo(self) -> None:
        self._fetch(Repository(self.bare_repo_path))

    def _bare(self) -> Repository:
        """Return the copy of the remote, brought up to date where the remote answers.

        Raises:
            GitError: if there is no copy yet and none can be made.

        """
        bare = Repository(self.bare_repo_path)
        if not self._usable(bare):
            self._make_bare()
            return bare
        try:
            self._fetch(bare)
        except GitError as error:
            self._say("remote", f"{error}; the served release stays until the remote answers")
        else:
            if self._said.pop("remote", None):
                log.info("%s answers again", self.repo_url)
        return bare

    def _usable(self, bare: Repository) -> bool:
        return bare.path.is_dir() and bare.has(MAIN) and bare.has(_EMPTY)

    def _make_bare(self) -> None:
        self.base_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.base_dir, prefix=".bare-") as folder:
            fresh = Repository(Path(folder) / "bare")
            fresh.path.mkdir()
            fresh.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
            fresh.git("config", "core.hooksPath", "/dev/null")
            # The provider looks for an origin; fetches name the connection's URL, which may change.
            fresh.git("remote", "add", "origin", str(self.repo_url))
            blob = fresh.git("hash-object", "-w", "--stdin", input=b"")
            folder_id = fresh.git("mktree", input=f"100644 blob {blob}\t.gitkeep\n")
            tree = fresh.git("mktree", input=f"040000 tree {folder_id}\t{self.subdir}\n")
            empty = fresh.git("commit-tree", "-m", "No release yet", tree, env=_NOBODY)
            fresh.git("update-ref", _EMPTY, empty)
            self._fetch(fresh)
            if not fresh.has(MAIN):
                raise GitError(f"{self.repo_url}: has no branch main; push one")
            shutil.rmtree(self.bare_repo_path, ignore_errors=True)
            fresh.path.replace(self.bare_repo_path)

    def _fetch(self, bare: Repository) -> None:
        verdicts = [
            f"+refs/tags/{kind}/{self.environment}/*:refs/tags/{kind}/{self.environment}/*"
            for kind in ("verified", "rejected")
        ]
        if bare.has(MAIN) and self._asks(bare, Trust.load(bare, MAIN, ()), vouchers.SETTING, "true"):
            tags = f"{bare.namespace(_EARLIER)}/tags"
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
        same = self._state and self._state.tip == main and self._tags == _tags(bare)
        known = self._state if self._state and same else self._load(bare, MAIN)
        # On a new machine the first main may have been the wrong one. It binds nobody.
        before = None if known.main_fault else Known(known.tip, "which it pointed to", f"rm -r {bare.path}")
        return self._load(bare, _INCOMING, before)

    def _load(self, bare: Repository, main: str, known: Known | None = None) -> ReleaseState:
        last, self._tags = self.serving, _tags(bare)
        self._state = load_state(
            bare, main=main, known=known, commits=[last.commit if last else None], earlier=self._state
        )
        return self._state

    def _choose(self, bare: Repository) -> Iterator[Serving]:
        """Yield the releases that may be served, best first, from fetched commits and the last one served."""
        # A main that was just accepted has been read with the verdicts that were fetched with it.
        state, self._accepted = self._accepted or self._load(bare, MAIN), None
        self._judged = state
        trust = Trust.load(bare, state.tip, state.environments)
        declared = None
        successor = self._successor(bare)
        fault = (successor.main_fault if successor else None) or state.main_fault
        # A main that this machine never knew declares nothing.
        refused = str(state.main_fault) if state.main_fault else None
        strict = self._asks_for_signatures(bare, trust)
        try:
            declaration = state.declared(self.environment)
            declared = declaration.commit
            if refused is None and declared is None:
                refused = self._taken_away(state)
            elif refused is None:
                objection = state.may_run(self.environment, str(declared))
                refused = str(objection) if objection else None
                if refused is None and strict:
                    refused = self._unsigned_declaration(trust, declaration)
                if refused is None and declared is not None:
                    refused = self._model_fault(bare, state, trust, declared)
        except ReleaseError as error:
            refused = refused or str(error)
        if refused is None:
            yield self._serving(state, declared, declared, str(fault) if fault else None)
        for commit in dict.fromkeys(self._others(state, declared)):
            if state.served(self.environment, commit) is None and not (
                self._not_admitted(bare, state, trust, commit, strict=strict)
            ):
                yield self._serving(state, commit, declared, refused)
        yield self._serving(state, None, declared, refused)

    def _serving(
        self, state: ReleaseState, commit: str | None, declared: str | None, refused: str | None
    ) -> Serving:
        unverified = commit is not None and (
            state.awaits_verdict(self.environment, commit) or self._is_due_again(state, commit)
        )
        return Serving(
            environment=self.environment,
            commit=commit,
            declared=declared,
            refused=refused,
            unverified=unverified,
        )

    def _is_due_again(self, state: ReleaseState, commit: str) -> bool:
        """Return whether a verified release is verified again: on another runtime, or after some time."""
        verdicts, present = state.verdicts.every(self.environment, commit), Runtime.present()
        if not verdicts:
            return False
        due, left = reverification.due(verdicts, present, datetime.now(UTC), exact=runtimes.on_one_machine())
        if left is not None:
            self._again = min(self._again, time.monotonic() + left.total_seconds())
        return due

    def _taken_away(self, state: ReleaseState) -> str | None:
        """Return why `commit: null` is refused, or None where this environment has run no release yet."""
        if self._ran(state) is None:
            return None
        path, way = release_file.path_of(self.environment), instructions.propose("rollback", self.environment)
        return f"{path}: a release is not removed, only replaced; run: {way}"

    def _ran(self, state: ReleaseState) -> str | None:
        """Return the release that ran last here, else the last declared commit that can be served."""
        last = self.serving
        declared = (entry.commit for entry in state.history(self.environment))
        for commit in (last.commit if last else None, *declared):
            if commit and state.served(self.environment, commit) is None:
                return commit
        return None

    def _asks_for_signatures(self, bare: Repository, trust: Trust) -> bool:
        """Whether a release must be signed here.

        The environment of this process and its trust root decide it, so that a push to main cannot take it
        back. A main that did not grow out of the trust root declares nothing.
        """
        return trust.lists.problem is not None or self._asks(bare, trust, _SIGNED, "true")

    def _asks(self, bare: Repository, trust: Trust, key: str, value: str) -> bool:
        """Whether a setting has a value in this process, on main, or in the trust root."""
        if os.environ.get(key) == value:
            return True
        path, commits = settings.path_of(self.environment), [trust.tip, *filter(None, [trust.root])]
        for content in bare.read_all([(commit, path) for commit in commits]):
            try:
                lines = settings.parse_lines(content or b"", path)
            except SettingsError:
                continue
            if lines.get(key, (0, ""))[1] == value:
                return True
        return False

    def _unsigned_declaration(self, trust: Trust, declaration: Declaration) -> str | None:
        """Return why a declaration does not count where releases must be signed, or None where it does."""
        if problem := trust.lists.problem:
            return f"{release_file.path_of(self.environment)}: {problem}"
        if declaration.release.follow:
            # Nobody signs for each commit of main, and nobody may make this environment follow it.
            path = environments.path_of(self.environment)
            return f"{path}: {self.environment} follows main, but asks for signed releases; write `after`"
        return signatures.objection(trust, declaration)

    def _not_admitted(
        self, bare: Repository, state: ReleaseState, trust: Trust, commit: str, *, strict: bool
    ) -> bool:
        """Whether a commit that is not declared now may not be served in place of the declared one."""
        last = self.serving
        if last and last.commit == commit:
            return False  # It was taken when it was declared, and goes on running.
        if self._model_fault(bare, state, trust, commit):
            return True
        return strict and self._unsigned(state, trust, commit)

    def _model_fault(self, bare: Repository, state: ReleaseState, trust: Trust, commit: str) -> str | None:
        """Return why the model of a release may not be loaded here, or None if it may or there is none."""
        release = state.snapshot(commit)
        if release is None or release.model is None:
            return None
        path = settings.path_of(self.environment)
        use: Use = "commercial" if self._asks(bare, trust, _USE, "commercial") else "research"
        try:
            appended = licences.batches(bare.files(commit, licences.BATCHES))
            forbidden = state.main.licences.forbidden(release.source, appended, use)
        except LicencesError as error:
            # Without licences no data is known to allow more than research.
            forbidden = [str(error)] if use == "commercial" else []
        if forbidden:
            return f"{path}: USE={use}, and {commit[:12]} has a model of other data: {forbidden[0]}"
        if not self._asks(bare, trust, vouchers.SETTING, "true"):
            return None
        known = Verdicts.load(bare, trust.lists, remote=_EARLIER, environments=state.environments)
        fault = vouchers.fault(self.environment, release.model, state.environments, known)
        return str(fault) if fault else None

    def _unsigned(self, state: ReleaseState, trust: Trust, commit: str) -> bool:
        """Whether main never declared a commit here in a way that counts where releases must be signed."""
        return all(
            self._unsigned_declaration(trust, declaration)
            for declaration in state.history(self.environment)
            if declaration.commit == commit
        )

    def _others(self, state: ReleaseState, declared: str | None) -> Iterator[str]:
        """Yield the releases that could be served in place of the declared one, best first.

        A rejected release gives way only to one that ran and was verified here; without one it stays.
        """
        environment, verdicts = self.environment, state.verdicts
        last = self.serving
        if last and last.commit and last.commit != declared:
            judged = verdicts.rejected(environment, last.commit) or verdicts.verified(
                environment, last.commit
            )
            # The declared one never took its place: it stays at least until it has a verdict of its own.
            if not judged:
                yield last.commit
        candidates = (last.commit if last else None, state.present(environment).commit, self._ran(state))
        if state.main_fault:
            verified = (verdict.release for verdict in reversed(verdicts.verifications(environment)))
            candidates = (last.commit if last else None, *verified)
        runs = [commit for commit in candidates if commit]
        if not verdicts.rejected(environment, declared):
            yield from (commit for commit in runs if not verdicts.rejected(environment, commit))
        before = earlier(state, environment)
        # A release that was verified on another runtime alone may be as bad here.
        here = Runtime.present()
        yield from (commit for commit in before if verdicts.verified_on(environment, commit, here))
        yield from runs
        yield from before

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
                    self._place(bare, serving.commit or bare.resolve(_EMPTY))
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

    def _place(self, bare: Repository, target: str) -> None:
        """Check a commit out, unless that was done. If the checkout fails, the present one stays.

        Raises:
            CheckoutError: where a file of the commit cannot be made here.
            GitError: when git fails.

        """
        tracking = Repository(self.repo_path)
        fresh = not (tracking.path.is_dir() and tracking.has("HEAD"))
        # The first time in this process also repairs a checkout that a killed process left half done.
        if fresh or self._seen is None or tracking.resolve("HEAD") != target:
            trial_checkout.make(bare, target, self.base_dir)
            if fresh:
                self._make_tracking(bare)
            self._check_out(bare, tracking, target)

    def _record(self, bare: Repository, serving: Serving) -> None:
        before = self.serving
        serving = self._with_notice(bare, serving, before)
        if before != serving:
            serving_file.write(self.base_dir, serving)
        shown = f"release {serving.commit[:12]}" if serving.commit else "no release"
        if serving.refused:
            self._say("release", f"{serving.refused}: refused; {self.environment} runs {shown}")
        else:
            self._said.pop("release", None)
            if before is None or before.commit != serving.commit:
                log.info("%s runs %s", self.environment, shown)

    def _with_notice(self, bare: Repository, serving: Serving, before: Serving | None) -> Serving:
        """Check once for each release whether its model is its own, for the page and the banner."""
        if serving.commit is None:
            return serving
        if before is not None and before.commit == serving.commit:
            known = before.model_dump(include={"model_notice", "next_command", "needs"})
            return serving.model_copy(update=known)
        notice = provenance.notice(bare, serving.commit)
        update: dict[str, object] = {"needs": Snapshot.load(bare, serving.commit).contract}
        if notice is not None:
            update |= {"model_notice": notice.text, "next_command": notice.command}
        return serving.model_copy(update=update)

    def _make_tracking(self, bare: Repository) -> None:
        with tempfile.TemporaryDirectory(dir=self.base_dir, prefix=".tracking-") as folder:
            fresh = Repository.clone(str(bare.path), Path(folder) / "clone", "--no-checkout")
            fresh.git("config", "core.hooksPath", "/dev/null")
            shutil.rmtree(self.repo_path, ignore_errors=True)
            fresh.path.replace(self.repo_path)

    def _check_out(self, bare: Repository, tracking: Repository, target: str) -> None:
        # Held by nobody: every process that writes here holds the bundle's lock, as this one does.
        (tracking.path / ".git" / "index.lock").unlink(missing_ok=True)
        tracking.fetch_refs(str(bare.path), f"+{MAIN}:refs/remotes/origin/main", f"+{_EMPTY}:{_EMPTY}")
        # One step from release to release: a DAG file is never parsed in the state of a third commit.
        before = tracking.resolve("HEAD")
        try:
            tracking.git("checkout", "--quiet", "--force", "--detach", target, timeout=300)
        except GitError:
            # The trial has passed, so the machine is the reason: a full disk, perhaps. Git has moved HEAD.
            tracking.git("checkout", "--quiet", "--force", "--detach", before, timeout=300)
            raise
        tracking.git("clean", "--quiet", "-ffdx", timeout=300)
        for repository in (bare, tracking):
            repository.git("-c", "gc.autoDetach=false", "gc", "--auto", "--quiet", timeout=300)
        # Airflow parses a file again at once when it is newer, else only now and then: a release that changes
        # no DAG file would be a while in showing.
        for file in self.path.rglob("*.py"):
            os.utime(file, follow_symlinks=False)

    def _say(self, subject: str, message: str) -> None:
        """Log a message, once for as long as it stays the same."""
        if self._said.get(subject) != message:
            log.warning("%s", message)
            self._said[subject] = message


def _tags(bare: Repository) -> str:
    """Return the verdicts that were fetched: a change of them may show that main is the wrong one."""
    return bare.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/tags/")
