"""Status of the environments: the declared release, the running release, and whether they are in sync."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gitops.airflow.client import Access
from gitops.dvc import provenance
from gitops.errors import CalendarError, ReleaseError
from gitops.gates.shadows import Shadowed
from gitops.promotion.approved import Approved
from gitops.release import checks, holds, keys, runtimes
from gitops.release.checks import Check
from gitops.release.condition import Condition
from gitops.release.environments import TERMINAL, Color
from gitops.release.holds import Hold
from gitops.release.people import People
from gitops.release.state import ReleaseState, last_good
from gitops.release.verdicts import Ignored
from gitops.text import instructions
from gitops.text.instructions import Meeting
from gitops.text.markdown import one_line

_MOST_IGNORED = 10
_UNFINISHED = "the last run of verify_release failed without a verdict; its log has the reason"


@dataclass(frozen=True)
class Answer:
    """The answer of an environment's Airflow; `trouble` is the reason if there is no answer."""

    running: str | None = None
    last_run: str | None = None
    trouble: str | None = None
    condition: Condition = field(default_factory=Condition)
    failed: bool = False
    """Whether the last verification of the running release failed."""


@dataclass(frozen=True)
class EnvironmentStatus:
    """The state of one environment.

    `verified` is the environment's verdict on the declared release: True, False (rejected), or None
    (no verdict yet). `since` is the time at which main declared that release. Model and accuracy are those of
    the running release; if that is not known, of the declared release.
    `notice` is set if the model was not made from that commit.
    """

    environment: str
    declared: str | None
    running: str | None
    model_sha256: str | None
    mean_accuracy: float | None
    verified: bool | None
    agree: bool
    hold: str | None
    """The holds that stand, as one line; None without any."""
    since: datetime | None
    url: str | None
    last_run: str | None
    trouble: str | None
    way_back: tuple[str, ...] = ()
    """Commands that take a rejected release back; empty if there is nothing to take back."""
    way_on: tuple[str, ...] = ()
    """Commands that lift the holds."""
    holds: tuple[dict[str, Any], ...] = ()
    """Each hold: its reason, who set it, when, until when, and whether it stands."""
    notice: provenance.Notice | None = None
    contract: int | None = None
    """The contract of the runtime that the running release needs; None where nothing runs."""
    wave: str = ""
    """The wave of the environment."""
    color: Color = "slate"
    """The colour of the environment, as environment.yaml names it."""
    closed: str | None = None
    """The reason why the calendar allows no promotion now, and when it does again."""
    promotion: str = "by-hand"
    """Who merges promotions into the environment, as environment.yaml names it."""
    approvals: dict[str, Any] | None = None
    """The approvals of the release that is due: its commit, how many are needed, and who gave some.

    None where the environment asks for none, or nothing is due.
    """
    proposed_by: str | None = None
    """The author of the change that main declares the release by, as the commit names them."""
    merged_by: str | None = None
    shadow: dict[str, Any] | None = None
    """The shadow or canary that main declares, and the newest report on it; None without one."""
    checks: tuple[Check, ...] = ()
    """The checks of the verdict on the declared release."""
    runtime: str | None = None
    """The runtime that main declares the release for; None where it names none."""
    health: str | None = None
    """The state of the watch over the running release: watching, passed, failed or errored."""
    ill: str = ""
    """The faults of the environment itself, where it is errored."""
    refused: str = ""
    """The environment's reason why the declared release does not run."""

    def plain(self) -> dict[str, Any]:
        """Return the row as JSON can carry it."""
        since = self.since.isoformat() if self.since else None
        listed = [check.model_dump(mode="json") for check in self.checks]
        notice = self.notice.__dict__ if self.notice else None
        return {**self.__dict__, "since": since, "notice": notice, "checks": listed}


def row(
    state: ReleaseState,
    environment: str,
    answer: Answer,
    access: Access | None,
    notice: provenance.Notice | None,
    at: Meeting,
    approvals: Approved | None = None,
    by: People | None = None,
    shadow: Shadowed | None = None,
) -> EnvironmentStatus:
    """Compare the answer of an environment with main.

    Args:
        state: The state that main declares.
        environment: The environment.
        answer: The answer of its Airflow.
        access: The address of its Airflow.
        notice: The warning about the model of the release that it runs, or else should run.
        at: Where proposals are merged.
        approvals: The approvals of the release that is due, where the environment asks for some.
        by: The people behind the present declaration.
        shadow: The report of the environment on its shadow, where there is one.

    """
    verdicts, trouble = state.verdicts, answer.trouble
    declared, since, valid, now = None, None, True, datetime.now(UTC)
    listed: tuple[Hold, ...] = ()
    try:
        declaration = state.declared(environment)
        declared, listed = declaration.commit, holds.parse(declaration.hold)
        since = _since(state, environment) or declaration.at
    except ReleaseError as error:
        valid, trouble = False, str(error)
    agree = valid and answer.trouble is None and state.same(declared, answer.running)
    verified = None
    if verdicts.rejected(environment, declared):
        verified = False
        instead = "it runs its last verified release"
        if state.same(declared, answer.running):
            instead = "it goes on, as there is no verified one to return to"
        trouble = trouble or f"{environment} rejected {(declared or '')[:12]}; {instead}"
    elif verdicts.verified(environment, declared):
        verified = True
    accuracy, needs = None, None
    commit = shown(state, environment, answer)
    if release := state.snapshot(commit) if commit else None:
        try:
            needs = release.contract
        except ReleaseError as error:
            trouble = trouble or str(error)
        accuracy = release.evaluation.mean_accuracy if release.model else None
    standing = [hold for hold in listed if hold.stands(now)]
    verdict = verdicts.latest(environment, declared)
    return EnvironmentStatus(
        environment=environment,
        declared=declared,
        running=answer.running,
        model_sha256=release.model if release else None,
        mean_accuracy=accuracy,
        verified=verified,
        agree=agree,
        hold=holds.render(standing),
        since=since,
        url=(access.web or access.url) if access else None,
        last_run=answer.last_run,
        trouble=trouble,
        way_back=_way_back(state, environment, declared, at) if verified is False else (),
        way_on=instructions.lift_hold(environment, at, [hold.reason for hold in standing])
        if standing
        else (),
        holds=tuple(hold.plain(now) for hold in listed),
        notice=notice,
        contract=needs,
        wave=state.environments[environment].wave,
        color=state.environments[environment].color,
        closed=_closed(state, environment),
        promotion=state.environments[environment].promotion,
        approvals=approvals.plain() if approvals else None,
        checks=verdict.checks if verdict else (),
        proposed_by=by.proposed if by else None,
        merged_by=by.merged if by else None,
        runtime=state.present(environment).runtime,
        health=answer.condition.health,
        ill=answer.condition.ill or (_UNFINISHED if answer.failed and verified is None else ""),
        refused=answer.condition.refused,
        shadow=_shadow(state, environment, shadow),
    )


def shown(state: ReleaseState, environment: str, answer: Answer) -> str | None:
    """Return the release whose model the status shows: the running one, or else the declared one."""
    declaration = state.declarations[environment]
    return answer.running or (None if isinstance(declaration, ReleaseError) else declaration.commit)


def _shadow(state: ReleaseState, environment: str, report: Shadowed | None) -> dict[str, Any] | None:
    present = state.present(environment)
    commit = present.trial
    if commit is None:
        return None
    text = str(report) if report else "no report yet"
    name = f"canary {commit[:12]} at {present.share}%" if present.canary else f"shadow {commit[:12]}"
    ended = state.verdicts.rejected(environment, commit)
    if ended:
        text = f"ended, {one_line(ended.message.partition(chr(10))[0])}"
    return {
        "commit": commit,
        "name": name,
        "share": present.share,
        "ended": ended.name if ended else None,
        "text": text,
        "report": report.model_dump(mode="json") if report else None,
    }


def _closed(state: ReleaseState, environment: str) -> str | None:
    if state.environments.follows(environment):
        return None
    try:
        closed = state.main.calendar.closed(environment, datetime.now(UTC))
    except CalendarError as error:
        return str(error)
    return str(closed) if closed else None


def _way_back(state: ReleaseState, environment: str, declared: str | None, at: Meeting) -> tuple[str, ...]:
    if not state.environments.follows(environment):
        good = last_good(state, environment)
        return instructions.roll_back(environment, at) if good else ()
    parents = state.parents.get(str(declared), ())
    return instructions.revert(str(declared), len(parents), at) if parents else ()


def _since(state: ReleaseState, environment: str) -> datetime | None:
    """Return since when main declares the present release, under whatever commit, held or not."""
    entries = state.history(environment)
    earlier = itertools.takewhile(lambda entry: state.same(entry.commit, entries[0].commit), entries)
    return min((entry.at for entry in earlier), default=None)


def show(
    rows: list[EnvironmentStatus], access: dict[str, Access], console: Console, *, now: datetime | None = None
) -> None:
    """Print the rows as a table, with passwords only on a terminal."""
    # This width fits a terminal of 80 columns, where every commit must be readable in full.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("", "wanted", "running", "since", "model", "accuracy", "verdict, check", "in\nsync"):
        table.add_column(title, no_wrap=True)
    for row, heading in _with_headings(rows):
        if heading:
            table.add_row(Text(heading, style="dim"))
        verdict = {True: "verified", False: "rejected", None: "pending"}[row.verified]
        states = (verdict if row.declared else "", row.last_run)
        table.add_row(
            Text(row.environment, style=_style(row)),
            _commit(row.declared),
            "unknown" if row.trouble and row.running is None else _commit(row.running),
            _age(row.since, now or datetime.now(UTC)) if row.declared else "",
            (row.model_sha256 or "")[:8],
            "" if row.mean_accuracy is None else f"{row.mean_accuracy:.4f}",
            Text(", ".join(filter(None, states)), style="red" if row.verified is False else ""),
            Text("yes" if row.agree else "no", style="green" if row.agree else "red"),
        )
    console.print(table)
    console.print()
    width = max(9, *(len(row.environment) + 1 for row in rows))
    for row in rows:
        line = Text(f"{row.environment:<{width}}", style=_style(row))
        known = access.get(row.environment)
        line.append(row.url or "", style="default")
        if known:
            line.append(f"  user {known.username}", style="default")
            if console.is_terminal:
                line.append(f"  password {known.password.get_secret_value()}", style="default")
        if row.declared is None:
            line.append("  no release yet", style="default")
        if row.hold:
            line.append(f"  held: {row.hold}", style="yellow")
        for hold in row.holds:
            if not hold["stands"]:
                line.append(f"  no longer held: {hold['reason']} (until {hold['until']})", style="default")
        if row.runtime:
            line.append(f"  runtime {runtimes.short(row.runtime)}", style="default")
        if row.checks:
            line.append(f"  checks: {checks.summary(row.checks)}", style="default")
        if row.closed:
            line.append(f"  promotions closed: {row.closed}", style="yellow")
        if row.approvals:
            style = "default" if row.approvals["enough"] else "yellow"
            line.append(f"  {row.approvals['commit'][:12]} has {row.approvals['text']}", style=style)
        if row.shadow:
            style = "red" if row.shadow["ended"] else "default"
            line.append(f"  {row.shadow['name']}: {row.shadow['text']}", style=style)
        if row.trouble or row.refused:
            line.append(f"  {row.trouble or row.refused}", style="red")
        if row.ill:
            line.append(f"  errored, no verdict: {row.ill}", style="red")
        console.print(line, soft_wrap=True)
        if row.declared and row.proposed_by and row.merged_by:
            released = f"released {_minute(row.since)}, {People(row.proposed_by, row.merged_by)}"
            console.print(f"{'':<{width}}{released}", soft_wrap=True, markup=False)
        if row.notice:
            console.print(Text(f"{'':<{width}}{row.notice.text}", style="yellow"), soft_wrap=True)
            console.print(Text(f"{'':<{width}}{row.notice.command}", style="yellow"), soft_wrap=True)
    for row in rows:
        ways = ((f"To go back in {row.environment}:", row.way_back),)
        ways += ((f"To allow promotions into {row.environment} again:", row.way_on),)
        for what, commands in ways:
            if commands:
                console.print(f"\n{what}\n", markup=False)
                console.print(instructions.text(commands, "    "), soft_wrap=True, markup=False)


def without_keys(state: ReleaseState) -> Iterator[str]:
    """List the environments whose verdicts cannot count, and the command that helps.

    Before main has a model there is nothing to verify, and `make up` makes the keys.
    """
    lists = state.lists
    if lists.problem:
        yield f"No verdict counts: {lists.problem}"
        return
    for name in state.environments if state.main.model else ():
        if lists.keys(name) is None:
            yield (
                f"{name}: no verdict counts: there is no {keys.path_of(name)} on main; "
                f"make it: .venv/bin/gitops keys create {name} --push"
            )


def ignored(tags: Sequence[Ignored], remote: str) -> Iterator[str]:
    """List the ignored tags, in a bounded number of lines."""
    yield from (str(tag) for tag in tags[:_MOST_IGNORED])
    if (more := len(tags) - _MOST_IGNORED) > 0:
        yield f"{more} more tags: ignored; list them: git ls-remote --tags {remote}"


def _with_headings(rows: Sequence[EnvironmentStatus]) -> Iterator[tuple[EnvironmentStatus, str | None]]:
    """Put the name of a wave before the first of several environments of it."""
    sizes = Counter(row.wave for row in rows)
    wave: str | None = None
    for row in rows:
        begins = row.wave != wave and sizes[row.wave] > 1
        wave = row.wave
        yield row, f"wave {wave}" if begins else None


def _style(row: EnvironmentStatus) -> str:
    return TERMINAL[row.color]


def _commit(commit: str | None) -> str:
    return commit[:12] if commit else "none"


def _minute(at: datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M %Z}" if at else "at an unknown time"


def _age(since: datetime | None, now: datetime) -> str:
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
