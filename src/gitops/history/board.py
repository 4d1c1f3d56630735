"""The board: the state of all environments, the releases that wait, and why, as main and the tags have it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gitops.errors import CalendarError, ReleaseError
from gitops.findings import Finding
from gitops.git.objects import Commit
from gitops.history import deployments
from gitops.history.deployments import Deployment
from gitops.history.trunk import Past
from gitops.model.cost import StageCost
from gitops.model.metrics import Interval
from gitops.promotion.due import due, runtime_due
from gitops.promotion.evidence import Evidence
from gitops.promotion.rules import judge_release
from gitops.release import holds
from gitops.release.approvals import Given
from gitops.release.environments import Color
from gitops.release.file import Release
from gitops.release.holds import Hold
from gitops.release.state import ReleaseState
from gitops.release.verdicts import REJECTED, VERIFIED, Verdict


@dataclass(frozen=True)
class Waiting:
    """A release that could come to an environment.

    Attributes:
        release: The release.
        subject: The subject of its commit.
        reasons: Everything that forbids its promotion now; empty if nothing does.
        proposal: The commit of the branch that proposes it; None where nobody proposed it.
        approvals: The signed approvals of it.

    """

    release: str
    subject: str
    reasons: tuple[Finding, ...] = ()
    proposal: Commit | None = None
    approvals: tuple[Given, ...] = ()


@dataclass(frozen=True)
class Place:
    """An environment on the board.

    Attributes:
        name: The name.
        title: The name that people read.
        color: The colour.
        wave: The wave.
        after: The environments directly before it.
        follows: Whether it follows main.
        release: The declared release; None before the first one.
        subject: The subject of the commit of the release.
        deployment: The declaration of the release; None where it has no release.
        verdict: `verified`, `rejected`, or '' while there is no verdict.
        verdict_at: The time of the verdict.
        measured: The accuracy that the environment measured.
        accuracy: The accuracy that the release records.
        model: The SHA-256 of the model.
        holds: All holds of the file.
        closed: Why the calendar allows no promotion now, and when it does.
        override: The reason for which it was promoted outside of the calendar.
        problem: The fault of the release file; the last valid one is shown.
        approvals: The signed approvals of the release that are not over.
        waiting: The release that could come; None where there is no other.
        cost: The cost of the run that made the model; None where its commit does not have it.

    """

    name: str
    title: str
    color: Color
    wave: str
    after: tuple[str, ...] = ()
    follows: bool = False
    release: str | None = None
    subject: str = ""
    deployment: Deployment | None = None
    verdict: str = ""
    verdict_at: datetime | None = None
    measured: float | None = None
    accuracy: Interval | None = None
    model: str | None = None
    holds: tuple[Hold, ...] = ()
    closed: str = ""
    override: str = ""
    problem: str = ""
    approvals: tuple[Given, ...] = ()
    waiting: Waiting | None = None
    cost: StageCost | None = None

    @property
    def held(self) -> bool:
        """Whether a hold keeps promotions away."""
        return any(hold.stands(datetime.now(UTC)) for hold in self.holds)

    def plain(self, now: datetime) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        declared, waiting = self.deployment, self.waiting
        proposal = waiting.proposal if waiting else None
        return {
            "environment": self.name,
            "title": self.title,
            "wave": self.wave,
            "after": [*self.after],
            "release": self.release,
            "subject": self.subject,
            "since": declared.at.isoformat() if declared else None,
            "declared_by": declared.change.commit.author if declared else None,
            "proposed_by": declared.change.proposed_by if declared else None,
            "verdict": self.verdict or None,
            "verdict_at": self.verdict_at.isoformat() if self.verdict_at else None,
            "measured_accuracy": self.measured,
            "recorded_accuracy": self.accuracy.__dict__ if self.accuracy else None,
            "model_sha256": self.model,
            "holds": [hold.plain(now) for hold in self.holds],
            "closed": self.closed or None,
            "override": self.override or None,
            "problem": self.problem or None,
            "approvals": [_approval(given) for given in self.approvals],
            "cost": self.cost.model_dump() if self.cost else None,
            "waiting": None
            if waiting is None
            else {
                "release": waiting.release,
                "subject": waiting.subject,
                "reasons": [str(reason) for reason in waiting.reasons],
                "proposed_by": proposal.author if proposal else None,
                "proposed_at": proposal.at.isoformat() if proposal else None,
                "approvals": [_approval(given) for given in waiting.approvals],
            },
        }


@dataclass(frozen=True)
class Board:
    """All environments at one time, in the order of promotion.

    Attributes:
        at: The time.
        main: The newest commit of main.
        places: The environments.
        problems: The faults of main itself, and tags that look like verdicts and are not.
        differences: The lines that tell two releases apart, by both environments.
        cost: The cost of the trainings whose models main got in the last 30 days; None if it is not known.

    """

    at: datetime
    main: Commit
    places: tuple[Place, ...]
    problems: tuple[str, ...] = ()
    differences: Mapping[tuple[str, str], str] | None = None
    cost: StageCost | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {
            "at": self.at.isoformat(),
            "main": {"commit": self.main.id, "at": self.main.at.isoformat(), "subject": self.main.subject},
            "problems": [*self.problems],
            "cost_of_30_days": self.cost.model_dump() if self.cost else None,
            "environments": [place.plain(self.at) for place in self.places],
            "differences": [
                {"from": first, "to": second, "text": text}
                for (first, second), text in (self.differences or {}).items()
            ],
        }


def place(
    state: ReleaseState,
    past: Past,
    environment: str,
    subjects: Mapping[str, Commit],
    proposals: Mapping[str, Commit],
    evidence: Evidence,
    now: datetime,
) -> Place:
    """Return an environment on the board.

    Args:
        state: The state that main declares, which knows the commits of main.
        past: The past.
        environment: The environment.
        subjects: The commits of releases, by their ids.
        proposals: The last commits of the branches that propose promotions, by environment.
        evidence: The sources that the rules ask.
        now: The time.

    """
    declared, verdicts, problem = state.environments[environment], state.verdicts, ""
    follows = state.environments.follows(environment)
    present = state.present(environment)
    release = state.wanted(environment)
    try:
        state.declared(environment)
    except ReleaseError as error:
        problem = str(error)
    every = deployments.of_environment(past, state.environments, verdicts, environment)
    deployment = every[-1] if every and release else None
    rejection = verdicts.rejected(environment, release)
    verified = verdicts.verified(environment, release)
    snapshot = state.snapshot(release) if release else None
    return Place(
        name=environment,
        title=declared.title,
        color=declared.color,
        wave=declared.wave,
        after=state.environments.before(environment),
        follows=follows,
        release=release,
        subject=subjects[release].subject if release and release in subjects else "",
        deployment=deployment,
        verdict=REJECTED if rejection else VERIFIED if verified else "",
        verdict_at=rejection.at if rejection else verified.at if verified else None,
        measured=_measured(rejection, verified),
        accuracy=snapshot.metrics.means.get("mean_accuracy") if snapshot else None,
        model=snapshot.model if snapshot else None,
        holds=holds.parse(present.hold),
        closed="" if follows else _closed(state, environment, now),
        override=present.override or "",
        problem=problem,
        approvals=_approvals(state, environment, release),
        waiting=None if follows else _waiting(state, environment, subjects, proposals, evidence, now),
    )


def _waiting(
    state: ReleaseState,
    environment: str,
    subjects: Mapping[str, Commit],
    proposals: Mapping[str, Commit],
    evidence: Evidence,
    now: datetime,
) -> Waiting | None:
    release = due(state, environment)
    runtime = runtime_due(state, environment, release)
    if release is None or state.has(environment, release, runtime):
        return None
    judgement = judge_release(state, environment, Release(commit=release, runtime=runtime), evidence, now=now)
    subject = subjects[release].subject if release in subjects else ""
    approvals = _approvals(state, environment, release)
    return Waiting(release, subject, judgement.findings, proposals.get(environment), approvals)


def _approvals(state: ReleaseState, environment: str, release: str | None) -> tuple[Given, ...]:
    here = (given for given in state.approvals.given if given.environment == environment)
    return tuple(given for given in here if state.same(given.release, release))


def _approval(given: Given) -> dict[str, str]:
    return {"by": given.by, "at": given.at.isoformat(), "tag": given.name}


def _measured(rejection: Any, verified: Verdict | None) -> float | None:
    if rejection is not None:
        return Verdict.read(rejection).measured_accuracy
    return verified.measured_accuracy if verified else None


def _closed(state: ReleaseState, environment: str, now: datetime) -> str:
    try:
        closed = state.main.calendar.closed(environment, now)
    except CalendarError as error:
        return str(error)
    return str(closed) if closed else ""
