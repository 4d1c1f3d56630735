"""What runs here: the release that the bundle serves, since when, by which change, and what became of it."""

import re
from dataclasses import dataclass
from datetime import datetime

from dashboard.errors import DashboardError
from dashboard.place import Place
from gitops.errors import GitopsError, ReleaseError
from gitops.git.repository import Repository
from gitops.paths import MAIN
from gitops.release import serving
from gitops.release.file import Declaration, identities
from gitops.release.state import Ledger, last_good
from gitops.release.verdicts import Verdict
from gitops.text import instructions
from gitops.text.instructions import Meeting, text

_NAME = re.compile(r"[a-z][a-z_]*")
_REQUEST = re.compile(r"(?<![\w/])#(\d+)\b")


@dataclass(frozen=True)
class Change:
    """The commit of main by which a release came to be declared, and its pull request where it names one."""

    commit: str
    at: datetime
    subject: str
    request: str | None
    parents: int
    """Of two a revert has to name one; without any there is nothing to go back to."""
    url: str | None
    """Where a forge shows the pull request, or else the commit; None where that is not known."""


@dataclass(frozen=True)
class Rejection:
    """The verdict against a release."""

    tag: str
    at: datetime | None
    line: str


@dataclass(frozen=True)
class Running:
    """The state of one environment; `commit` None is an environment without a release."""

    environment: str
    follows: bool
    """Whether this environment follows main, so that it is main that is changed."""
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
    """That the model was made from another commit."""
    next_command: str | None = None
    """The command that mends that."""
    needs: int | None = None
    """The contract of the runtime that the release needs."""
    contract: int | None = None
    """The contract that the runtime of this environment keeps."""
    hold: str | None = None
    change: Change | None = None
    verdict: Verdict | None = None
    rejection: Rejection | None = None
    """Of the declared release."""
    back: str | None = None
    """The last verified release before the declared one."""
    meeting: Meeting = instructions.LOCAL
    """Where proposals are merged."""

    @property
    def way_back(self) -> str | None:
        """The commands that go back, or None where there is nothing to go back to."""
        if self.follows:
            if self.change is None or not self.change.parents:
                return None
            return text(instructions.revert(self.change.commit, self.change.parents, self.meeting))
        if self.back is None:
            return None
        return text(instructions.roll_back(self.environment, self.meeting))

    @property
    def way_on(self) -> str:
        """The commands that allow promotions again after a hold."""
        return text(instructions.lift_hold(self.environment, self.meeting))

    @property
    def way_in(self) -> str:
        """The commands that promote a first release."""
        return text(instructions.promote(self.environment, self.meeting))


def repository(place: Place) -> Repository:
    """Return the bundle's copy of the repository.

    :raises DashboardError: where there is none.
    """
    found = Repository(place.bundle / "bare")
    if not found.path.is_dir():
        raise DashboardError(
            f"{found.path}: not there. The dag-processor makes it; the api-server must read it"
        )
    return found


def read(place: Place) -> Running:
    """Read what runs from `release.json` of the bundle, and the rest from its git repository.

    :raises DashboardError: where either cannot be read.
    """
    try:
        served = serving.read(place.bundle)
    except ReleaseError as error:
        raise DashboardError(str(error)) from error
    if served is None:
        raise DashboardError(
            f"{place.bundle / serving.FILE}: not there. The dag-processor writes it when it first asks git; "
            f"the api-server must be able to read it"
        )
    bare = repository(place)
    try:
        ledger = Ledger(bare, main=MAIN)
        change = _change(ledger, place.environment, served.commit) if served.commit else None
        rejected = ledger.verdicts.rejected(place.environment, served.declared)
        known = ledger.environments
        follows = known.follows(place.environment)
        back = None if follows else last_good(ledger, place.environment)
        members = known.wave(known[place.environment].wave) if place.environment in known else ()
        return Running(
            environment=place.environment,
            follows=follows,
            wave=tuple(name for name in members if name != place.environment),
            before=known.before(place.environment) if place.environment in known else (),
            after=tuple(name for name in known if place.environment in known.before(name)),
            commit=served.commit,
            declared=served.declared,
            refused=served.refused,
            notice=served.model_notice,
            next_command=served.next_command,
            needs=served.needs,
            contract=served.contract,
            hold=ledger.present(place.environment).hold,
            change=change,
            verdict=ledger.verdicts.verified(place.environment, served.commit),
            rejection=Rejection(rejected.name, rejected.at, rejected.message.partition("\n")[0])
            if rejected
            else None,
            back=back,
            meeting=instructions.meeting(_origin(bare)),
        )
    except GitopsError as error:
        raise DashboardError(str(error)) from error


def runbook(place: Place, name: str) -> str | None:
    """Return the text of a runbook as the newest commit of main has it; None where there is none.

    :raises DashboardError: where the repository cannot be read.
    """
    if not _NAME.fullmatch(name):
        return None
    try:
        content = repository(place).read(MAIN, f"docs/runbooks/{name}.md")
    except GitopsError as error:
        raise DashboardError(str(error)) from error
    return None if content is None else content.decode("utf-8", "replace")


def _change(ledger: Ledger, environment: str, commit: str) -> Change | None:
    """Return the change that first declared the release that runs, under whatever commit, held or not."""
    entries = [entry for entry in ledger.history(environment) if entry.commit]
    known = identities(ledger.repository, [commit, *(entry.commit for entry in entries if entry.commit)])
    mine = known.get(commit, commit)
    first: Declaration | None = None
    for entry in entries:
        if known.get(entry.commit or "", entry.commit) == mine:
            first = entry
        elif first is not None:
            break
    if first is None:
        return None
    info = ledger.repository.commit_info(first.by)
    request = _REQUEST.search(info.subject)
    number = request[1] if request else None
    parents = ledger.repository.git("rev-list", "--parents", "--max-count=1", info.id).split()[1:]
    url = _url(ledger.repository, info.id, number)
    return Change(info.id, info.at, info.subject, number, len(parents), url)


def _url(repository: Repository, commit: str, request: str | None) -> str | None:
    base = instructions.meeting(_origin(repository)).web
    if base is None:
        return None
    return f"{base}/pull/{request}" if request else f"{base}/commit/{commit}"


def _origin(repository: Repository) -> str:
    return repository.remote_url("origin") if "origin" in repository.remotes() else ""
