"""The running release: since when it runs, the change that declared it, its verdict, and the way back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboard.environment_paths import EnvironmentPaths
from dashboard.errors import DashboardError
from gitops.airflow import board
from gitops.errors import GitopsError, ReleaseError
from gitops.git.objects import Tag
from gitops.git.repository import Repository
from gitops.paths import MAIN
from gitops.release import checks, health, serving
from gitops.release.approvals import Approvals
from gitops.release.checks import Check
from gitops.release.file import Declaration
from gitops.release.health import Health
from gitops.release.holds import Hold
from gitops.release.load import add, load_state
from gitops.release.people import People, people
from gitops.release.state import ReleaseState, last_good
from gitops.release.verdicts import Verdict
from gitops.text import instructions
from gitops.text.instructions import Meeting, text

_NAME = re.compile(r"[a-z][a-z_]*")
_REQUEST = re.compile(r"(?<![\w/])#(\d+)\b")


@dataclass(frozen=True)
class Change:
    """The commit of main that declared a release, its people, and the pull request that its subject names."""

    commit: str
    at: datetime
    subject: str
    request: str | None
    parents: int
    """The number of parents. A revert of a merge must name one, and a root commit cannot be reverted."""
    people: People
    url: str | None
    """The web address of the pull request or else the commit, or None if it is unknown."""


@dataclass(frozen=True)
class Approval:
    """An approval of the running release that is not over."""

    by: str
    until: datetime


@dataclass(frozen=True)
class Rejection:
    """The verdict that rejected a release."""

    tag: str
    at: datetime | None
    line: str
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Start:
    """The time at which main declared another release for this environment."""

    at: datetime
    commit: str


@dataclass(frozen=True)
class Running:
    """The state of an environment. `commit` is None if the environment has no release."""

    environment: str
    follows: bool
    """Whether this environment follows main, so that changes are made on main."""
    wave: tuple[str, ...] = ()
    """The environments that get a release together with this one."""
    before: tuple[str, ...] = ()
    """The environments that a release comes from."""
    after: tuple[str, ...] = ()
    """The environments that a release goes to from here."""
    commit: str | None = None
    declared: str | None = None
    refused: str | None = None
    """Why the declared release does not run."""
    notice: str | None = None
    """A note that the model was made from another commit."""
    next_command: str | None = None
    """The command that makes a model of this commit."""
    needs: int | None = None
    """The runtime contract that the release needs."""
    contract: int | None = None
    """The contract of this environment's runtime."""
    holds: tuple[Hold, ...] = ()
    """The reasons that keep promotions away now."""
    trial: str | None = None
    """The commit whose model is tried beside the release, as a shadow or a canary, if main declares one."""
    share: int | None = None
    """The share of the batches that it answers, in percent; None of a shadow."""
    trial_ended: Rejection | None = None
    """The rejection of the canary, which answers nothing any more."""
    change: Change | None = None
    approvals: tuple[Approval, ...] = ()
    starts: tuple[Start, ...] = ()
    """Each time that main declared another release, oldest first."""
    verdict: Verdict | None = None
    rejection: Rejection | None = None
    """The rejection of the declared release."""
    watch: Health | None = None
    """The watch over the running release; None if it is not watched."""
    back: str | None = None
    """The last verified release before the declared one."""
    meeting: Meeting = instructions.LOCAL
    """Where proposals are merged."""

    @property
    def way_back(self) -> str | None:
        """The commands that roll back, or None if there is no earlier release."""
        if self.follows:
            if self.change is None or not self.change.parents:
                return None
            return text(instructions.revert(self.change.commit, self.change.parents, self.meeting))
        if self.back is None:
            return None
        return text(instructions.roll_back(self.environment, self.meeting))

    @property
    def checks(self) -> list[tuple[str, list[str]]]:
        """The checks of the running release, and those of a rejected one, as lines with a title."""
        own = self.verdict.checks if self.verdict else self.watch.all_checks if self.watch else ()
        failed = self.rejection.checks if self.rejection else ()
        titled = (("Checks", own), ("Checks of the rejected release", failed))
        return [(title, checks.text(listed)) for title, listed in titled if listed]

    @property
    def way_on(self) -> str:
        """The commands that lift the holds."""
        reasons = [hold.reason for hold in self.holds]
        return text(instructions.lift_hold(self.environment, self.meeting, reasons))

    @property
    def way_in(self) -> str:
        """The commands that promote the first release."""
        return text(instructions.promote(self.environment, self.meeting))


def repository(paths: EnvironmentPaths) -> Repository:
    """Return the bundle's copy of the repository.

    Raises:
        DashboardError: There is no copy yet.

    """
    bare = Repository(paths.bundle / "bare")
    if not bare.path.is_dir():
        raise DashboardError(
            f"{bare.path}: not found. The dag-processor creates it; the api-server must be able to read it"
        )
    return bare


def read(paths: EnvironmentPaths) -> Running:
    """Read the running release from `release.json` of the bundle, and the rest from its git repository.

    Raises:
        DashboardError: The file or the repository cannot be read.

    """
    try:
        served = serving.read(paths.bundle)
    except ReleaseError as error:
        raise DashboardError(str(error)) from error
    if served is None:
        raise DashboardError(
            f"no release information yet: {paths.bundle / serving.FILE} does not exist. It appears seconds "
            "after the dag-processor starts. If it does not: can the api-server read that folder?"
        )
    bare = repository(paths)
    try:
        state = load_state(bare, main=MAIN, commits=(served.commit, served.declared))
        change = _change(bare, state, paths.environment, served.commit) if served.commit else None
        rejected = state.verdicts.rejected(paths.environment, served.declared)
        known = state.environments
        follows = known.follows(paths.environment)
        back = None if follows else last_good(state, paths.environment)
        present = state.present(paths.environment)
        ended = state.verdicts.rejected(paths.environment, present.trial)
        members = known.wave(known[paths.environment].wave) if paths.environment in known else ()
        return Running(
            environment=paths.environment,
            follows=follows,
            wave=tuple(name for name in members if name != paths.environment),
            before=known.before(paths.environment) if paths.environment in known else (),
            after=tuple(name for name in known if paths.environment in known.before(name)),
            commit=served.commit,
            declared=served.declared,
            refused=served.refused,
            notice=served.model_notice,
            next_command=served.next_command,
            needs=served.needs,
            contract=served.contract,
            holds=present.holds(),
            trial=present.trial,
            share=present.share,
            trial_ended=_rejection(ended) if ended else None,
            change=change,
            approvals=tuple(_approvals(bare, state, paths.environment, served.commit)),
            starts=tuple(_starts(state, paths.environment)),
            verdict=next(reversed(state.verdicts.every(paths.environment, served.commit)), None),
            rejection=_rejection(rejected) if rejected else None,
            watch=_watch(paths, served.commit),
            back=back,
            meeting=instructions.meeting(_origin(bare)),
        )
    except GitopsError as error:
        raise DashboardError(str(error)) from error


def fingerprint(paths: EnvironmentPaths) -> tuple[bytes, str]:
    """Return a value that changes when the result of `read` may: the served release and all references.

    Raises:
        DashboardError: The file or the repository cannot be read.

    """
    file = paths.bundle / serving.FILE
    try:
        served = file.read_bytes() if file.is_file() else b""
        bare = repository(paths)
        known = [bare, *_approved(bare)]
        return served, "".join(one.git("for-each-ref", "--format=%(objectname) %(refname)") for one in known)
    except GitopsError as error:
        raise DashboardError(str(error)) from error


def _approved(bare: Repository) -> Iterator[Repository]:
    """Yield the repository with the approvals of all environments, once the bundle has made it."""
    found = board.repository(bare)
    if (found.path / "HEAD").is_file():
        yield found


def _approvals(
    bare: Repository, state: ReleaseState, environment: str, commit: str | None
) -> Iterator[Approval]:
    """Yield who approved a release, without the domain of their addresses, and until when that counts."""
    if environment not in state.environments or not state.environments[environment].approvals:
        return
    counts_for = timedelta(days=state.environments[environment].approvals_days)
    for repository in _approved(bare):
        given = Approvals.load(repository, state.lists, state.environments, remote=board.REMOTE).given
        here = [one for one in given if one.environment == environment]
        known = add(state, bare, [one.release for one in here])
        for one in here:
            if known.same(one.release, commit):
                yield Approval(min(one.people).partition("@")[0], one.at + counts_for)


def _rejection(tag: Tag) -> Rejection:
    return Rejection(tag.name, tag.at, tag.message.partition("\n")[0], Verdict.read(tag).checks)


def _watch(paths: EnvironmentPaths, commit: str | None) -> Health | None:
    watch = health.read(paths.bundle)
    return watch if watch and commit in watch.releases else None


def runbook(paths: EnvironmentPaths, name: str) -> str | None:
    """Return the text of a runbook from the newest commit of main, or None if there is no such runbook.

    Raises:
        DashboardError: The repository cannot be read.

    """
    if not _NAME.fullmatch(name):
        return None
    try:
        content = repository(paths).read(MAIN, f"docs/runbooks/{name}.md")
    except GitopsError as error:
        raise DashboardError(str(error)) from error
    return None if content is None else content.decode("utf-8", "replace")


def _change(repository: Repository, state: ReleaseState, environment: str, commit: str) -> Change | None:
    """Return the change that first declared the running release, or an identical one."""
    entries = [entry for entry in state.history(environment) if entry.commit]
    first: Declaration | None = None
    for entry in entries:
        if state.same(entry.commit, commit):
            first = entry
        elif first is not None:
            break
    if first is None:
        return None
    info = repository.commit_info(first.by)
    request = _REQUEST.search(info.subject)
    number = request[1] if request else None
    parents = len(state.parents[info.id])
    who = people(repository, [info.id])[info.id]
    return Change(info.id, info.at, info.subject, number, parents, who, _url(repository, info.id, number))


def _starts(state: ReleaseState, environment: str) -> Iterator[Start]:
    """Yield each declaration of another release; identical releases are one."""
    before: str | None = None
    for entry in reversed(state.history(environment)):
        if entry.commit and not state.same(entry.commit, before):
            before = entry.commit
            yield Start(entry.at, entry.commit)


def _url(repository: Repository, commit: str, request: str | None) -> str | None:
    base = instructions.meeting(_origin(repository)).web
    if base is None:
        return None
    return f"{base}/pull/{request}" if request else f"{base}/commit/{commit}"


def _origin(repository: Repository) -> str:
    return repository.remote_url("origin") if "origin" in repository.remotes() else ""
