"""The top of the page: alarms, most urgent first, and tiles with the most important values.

An alarm and the tile of its value have the same kind, so the tile never contradicts the alarm.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboard.charts import drifted
from dashboard.checks import Check
from dashboard.daily_stats import DailyStats
from dashboard.model_card import ModelCard
from dashboard.processes import Restarts
from dashboard.running import Running
from gitops.text import numbers

BAD, WARN, CALM = "bad", "warn", ""
_ORDER = (BAD, WARN, CALM)

VERDICT_DUE = timedelta(hours=1)
"""The maximum duration of a verification; the deadline of its DAG has passed by then."""
CHECK_DUE = timedelta(days=14)
"""The maximum age of the last check. Checks are weekly, so two are missing by then."""
_RESTARTED = timedelta(days=1)
"""For how long a process that was started again is an alarm."""
QUARANTINE = 0.05
"""An alarm is raised if more than this share of a week's images is in quarantine."""


@dataclass(frozen=True)
class Alarm:
    """A problem, with its urgency (`kind`) and the name of its runbook."""

    kind: str
    title: str
    text: str = ""
    runbook: str | None = None
    more: tuple[str, str] | None = None
    """A link on the page: its target and its text."""


@dataclass(frozen=True)
class Tile:
    """A value with a title and an explanation. Badges are pairs of a kind and a text."""

    title: str
    figure: str
    text: str
    kind: str = CALM
    badges: tuple[tuple[str, str], ...] = ()
    at: datetime | None = None
    """The time of the value, which follows the text."""


@dataclass(frozen=True)
class PageData:
    """The data of the page. None stands for a part that could not be read."""

    now: datetime
    running: Running | None = None
    card: ModelCard | None = None
    week: DailyStats | None = None
    """Statistics of the last seven days."""
    checks: tuple[Check, ...] | None = None
    """Newest first."""
    restarts: tuple[Restarts, ...] = ()
    """The processes that ended and were started again."""
    restarts_trouble: str = ""
    """The reason why these are not known."""

    @property
    def last(self) -> Check | None:
        return self.checks[0] if self.checks else None

    @property
    def measured(self) -> Check | None:
        """The latest check with enough labels."""
        return next((check for check in self.checks or () if check.accuracy is not None), None)

    @property
    def inaccurate(self) -> bool:
        """Whether the accuracy on late labels is below the threshold."""
        return self.last is not None and (bool(self.last.below) or _open(self.last, "accuracy"))

    @property
    def drifting(self) -> bool:
        return self.last is not None and (bool(self.last.drifted) or _open(self.last, "drift"))

    @property
    def unverified(self) -> timedelta | None:
        """How long the release has had no verdict, or None if it has one or VERDICT_DUE has not passed."""
        runs = self.running
        if runs is None or runs.change is None or runs.verdict or not (self.card and self.card.figures):
            return None
        age = self.now - runs.change.at
        return age if age > VERDICT_DUE else None

    @property
    def unchecked(self) -> timedelta | None:
        """The age of the last check, or None if it is less than CHECK_DUE or no image was scored.

        If there was no check yet, the time since the release was declared counts.
        """
        change = self.running.change if self.running is not None and self.checks == () else None
        since = self.last.at if self.last is not None else change.at if change is not None else None
        if since is None or self.week is None or not self.week.rows:
            return None
        age = self.now - since
        return age if age > CHECK_DUE else None

    @property
    def quarantined(self) -> float:
        """The share of the week's images that is in quarantine."""
        if self.week is None or not self.week.bad:
            return 0
        return self.week.bad / (self.week.rows + self.week.bad)


def alarms(data: PageData) -> tuple[Alarm, ...]:
    """Return the alarms, most urgent first."""
    return tuple(sorted(_alarms(data), key=lambda alarm: _ORDER.index(alarm.kind)))


def tiles(data: PageData) -> tuple[Tile, ...]:
    """Return the tiles, those with alarms first."""
    unsorted = (_release(data), _accuracy(data), _week(data), _check(data))
    return tuple(sorted(unsorted, key=lambda tile: _ORDER.index(tile.kind)))


def _alarms(data: PageData) -> Iterator[Alarm]:
    runs, last = data.running, data.last
    checks = ("#checks", "Show the checks")
    if data.inaccurate and last is not None:
        labels = ("#labels", "Show the accuracy")
        yield Alarm(BAD, "The model is wrong too often.", _reasons(last, drift=False), "accuracy", labels)
    if runs is not None and runs.refused:
        back = ("#roll-back", "How to roll back")
        title = "The release that main declares does not run here."
        here = f"{runs.commit[:12]} still runs." if runs.commit else "No release runs here."
        reason = runs.refused.removeprefix(f"environments/{runs.environment}/release.yaml: ")
        yield Alarm(
            BAD, title, f"{here} {_sentence(reason)}", "verify_release" if runs.rejection else None, back
        )
    if data.drifting and last is not None:
        yield Alarm(BAD, "The photographs have changed.", _reasons(last, drift=True), "drift", checks)
    if last is not None and last.alarm and not data.inaccurate and not data.drifting:
        yield Alarm(BAD, f"Alarm: {last.alarm}.", _reasons(last), None, checks)
    if data.quarantined > QUARANTINE and data.week is not None:
        text = f"{numbers.percent(data.quarantined)} of the images of the last 7 days could not be used."
        yield Alarm(
            WARN, "Many images are in quarantine.", text, "score_faces", ("#scored", "Show the reasons")
        )
    if data.unverified is not None:
        age = numbers.duration(data.unverified.total_seconds())
        text = f"It has run for {age}. A verification takes minutes."
        yield Alarm(WARN, "The running release has no verdict.", text, "verify_release")
    if data.unchecked is not None:
        due = "A check is due each week."
        age = numbers.duration(data.unchecked.total_seconds())
        text = f"The last check was {age} ago. {due}"
        if last is None:
            text = f"There was no check since the release started {age} ago. {due}"
        yield Alarm(WARN, "The weekly check is missing.", text, "model_monitoring_and_retraining", checks)
    if data.restarts_trouble:
        yield Alarm(WARN, "Nobody knows whether processes ended.", _sentence(data.restarts_trouble))
    if recent := [one for one in data.restarts if data.now - one.last < _RESTARTED]:
        text = "; ".join(
            f"{one.process}: {one.times}, the last one "
            f"{numbers.duration((data.now - one.last).total_seconds())} ago"
            for one in recent
        )
        yield Alarm(
            WARN, "Processes ended, and were started again.", f"{text}. make logs shows their output."
        )
    if runs is not None and runs.holds:
        reasons = " ".join(_sentence(str(hold)) for hold in runs.holds)
        yield Alarm(WARN, "Promotions are on hold.", reasons, None, ("#lift", "How to lift the hold"))


def _release(data: PageData) -> Tile:
    runs = data.running
    if runs is None:
        return Tile("Release", "unknown", "")
    badges: list[tuple[str, str]] = []
    kind = CALM
    if runs.refused:
        kind = BAD
    if runs.verdict:
        badges.append(("good", "verified"))
    elif not runs.commit:
        badges.append(("none", "no release yet"))
    elif data.card and not data.card.figures:
        badges.append(("none", "no model yet"))
    else:
        badges.append((WARN if data.unverified else "none", "no verdict yet"))
        kind = kind or (WARN if data.unverified else CALM)
    if runs.holds:
        badges.append((WARN, "held"))
        kind = kind or WARN
    # If there is a problem, it is the tile's large text, and the running release stands below.
    if runs.refused:
        declared = runs.declared[:12] if runs.declared else "the declared release"
        here = f"{runs.commit[:12]} is running" if runs.commit else "no release is running"
        word = "rejected" if runs.rejection else "refused"
        return Tile("Release", word, f"{declared}; {here}", kind, tuple(badges) if runs.commit else ())
    return Tile("Release", runs.commit[:12] if runs.commit else "none", "", kind, tuple(badges))


def _accuracy(data: PageData) -> Tile:
    claimed = data.card.figures.means.get("mean_accuracy") if data.card else None
    measured = data.measured
    if measured is not None and measured.accuracy is not None:
        labels = "late labels" if measured.labels is None else f"{numbers.count(measured.labels)} late labels"
        claim = f" (claimed {numbers.percent(claimed.value)})" if claimed else ""
        kind = BAD if data.inaccurate else CALM
        text = f"on {labels}{claim}, check of"
        return Tile("Accuracy", numbers.percent(measured.accuracy.value), text, kind, at=measured.at)
    if claimed is None:
        return Tile("Accuracy", "none", "no model yet")
    return Tile("Accuracy", numbers.percent(claimed.value), "on the hold-out set")


def _week(data: PageData) -> Tile:
    week = data.week
    if week is None:
        return Tile("Last 7 days", "unknown", "")
    if data.quarantined > QUARANTINE:
        return Tile(
            "Last 7 days",
            numbers.count(week.bad),
            f"images in quarantine, {numbers.count(week.rows)} scored",
            WARN,
        )
    return Tile(
        "Last 7 days", numbers.count(week.rows), f"images scored, {numbers.count(week.bad)} in quarantine"
    )


def _check(data: PageData) -> Tile:
    if data.last is None:
        text = "there was no check yet" if data.checks is not None else "unknown"
        return Tile("Last check", "none", text, WARN if data.unchecked else CALM)
    if data.drifting:
        moved = len(data.last.moved)
        text = f"in {moved} column{'' if moved == 1 else 's'},"
        return Tile("Last check", "drift", text, BAD, at=data.last.at)
    kind = WARN if data.unchecked else CALM
    return Tile("Last check", drifted(data.last), "", kind, at=data.last.at)


def _open(check: Check, alarm: str) -> bool:
    return alarm in (check.alarm or "").split(", ")


def _reasons(check: Check, *, drift: bool | None = None) -> str:
    """Return the reasons of a check; with `drift`, those about drift, or the others."""
    reasons = [one for one in check.reasons if drift is None or one.startswith("Drift") == drift]
    return " ".join(map(_sentence, reasons))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
