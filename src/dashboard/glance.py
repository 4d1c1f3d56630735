"""The top of the page: what is wrong, most urgent first, and the figures that say so.

An alarm and the figure that it is about have one kind, so that the largest figure never contradicts the
alarm.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboard.card import Card
from dashboard.charts import drifted
from dashboard.checks import Check
from dashboard.days import Day
from dashboard.running import Running

BAD, WARN, CALM = "bad", "warn", ""
_ORDER = (BAD, WARN, CALM)

VERDICT_DUE = timedelta(hours=1)
"""How long a verification may take; then its DAG's deadline has passed, too."""
CHECK_DUE = timedelta(days=14)
"""Checks are weekly: two that are missing are no chance."""
QUARANTINE = 0.05
"""The share of a week's images that somebody should look at when it is in quarantine."""


@dataclass(frozen=True)
class Alarm:
    """Something that is wrong: how urgent, what, and the runbook that says what to do."""

    kind: str
    title: str
    text: str = ""
    runbook: str | None = None
    more: tuple[str, str] | None = None
    """A link on the page: its target and its words."""


@dataclass(frozen=True)
class Tile:
    """A figure, what it is of, and what it says; badges are pairs of a kind and words."""

    title: str
    figure: str
    text: str
    kind: str = CALM
    badges: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Known:
    """All that the top of the page is made of; None is a part that could not be read."""

    now: datetime
    running: Running | None = None
    card: Card | None = None
    week: Day | None = None
    """The last seven days."""
    checks: tuple[Check, ...] | None = None
    """Newest first."""

    @property
    def last(self) -> Check | None:
        return self.checks[0] if self.checks else None

    @property
    def measured(self) -> Check | None:
        """The latest check with enough labels."""
        return next((check for check in self.checks or () if check.accuracy is not None), None)

    @property
    def inaccurate(self) -> bool:
        """Whether late labels say that the model is right less often than is asked for."""
        return self.last is not None and (bool(self.last.below) or _open(self.last, "accuracy"))

    @property
    def drifting(self) -> bool:
        return self.last is not None and (bool(self.last.drifted) or _open(self.last, "drift"))

    @property
    def unverified(self) -> timedelta | None:
        """For how long a release with a model has had no verdict, once that is too long."""
        runs = self.running
        if runs is None or runs.change is None or runs.verdict or not (self.card and self.card.figures):
            return None
        age = self.now - runs.change.at
        return age if age > VERDICT_DUE else None

    @property
    def unchecked(self) -> timedelta | None:
        """How long ago the last check was, once that is too long and something was scored since.

        Where there never was one, how long the release has run.
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


def alarms(known: Known) -> tuple[Alarm, ...]:
    """Return what is wrong, most urgent first; nothing where all is well."""
    return tuple(sorted(_alarms(known), key=lambda alarm: _ORDER.index(alarm.kind)))


def tiles(known: Known) -> tuple[Tile, ...]:
    """Return the figures, those of alarms first."""
    found = (_release(known), _accuracy(known), _week(known), _check(known))
    return tuple(sorted(found, key=lambda tile: _ORDER.index(tile.kind)))


def _alarms(known: Known) -> Iterator[Alarm]:
    runs, last = known.running, known.last
    checks = ("#checks", "See the checks")
    if known.inaccurate and last is not None:
        yield Alarm(BAD, "Accuracy is below the threshold.", _said(last), "accuracy", checks)
    if runs is not None and runs.refused:
        back = ("#release", "How to roll back")
        title = "The declared release does not run here."
        yield Alarm(BAD, title, runs.refused, "verify_release" if runs.rejection else None, back)
    if known.drifting and last is not None:
        text = "" if known.inaccurate else _said(last)
        yield Alarm(BAD, "What is scored has drifted.", text, "drift", checks)
    if last is not None and last.alarm and not known.inaccurate and not known.drifting:
        yield Alarm(BAD, f"Alarm: {last.alarm}.", _said(last), None, checks)
    if known.quarantined > QUARANTINE and known.week is not None:
        text = f"{known.quarantined:.0%} of the last 7 days' images could not be used."
        yield Alarm(
            WARN, "Many images are in quarantine.", text, "score_faces", ("#scored", "See the reasons")
        )
    if known.unverified is not None:
        text = f"It has run for {_long(known.unverified)}; a verdict takes minutes."
        yield Alarm(WARN, "The release that runs has no verdict.", text, "verify_release")
    if known.unchecked is not None:
        due = "one is due each week"
        text = f"The last one was {_long(known.unchecked)} ago; {due}."
        if last is None:
            text = f"There was none in the {_long(known.unchecked)} that the release has run; {due}."
        yield Alarm(WARN, "No check is made.", text, "model_monitoring_and_retraining", checks)
    if runs is not None and runs.hold:
        yield Alarm(WARN, "Promotions are held.", f"{runs.hold}.", None, ("#release", "How to lift the hold"))


def _release(known: Known) -> Tile:
    runs = known.running
    if runs is None:
        return Tile("Release", "not known", "")
    badges: list[tuple[str, str]] = []
    kind = CALM
    if runs.refused:
        kind, word = BAD, "rejected" if runs.rejection else "refused"
        declared = runs.declared[:12] if runs.declared else "what is declared"
        badges.append((BAD, f"{declared} {word}"))
    if runs.verdict:
        badges.append(("good", "verified"))
    elif not runs.commit:
        badges.append(("none", "no release yet"))
    elif known.card and not known.card.figures:
        badges.append(("none", "no model yet"))
    else:
        badges.append((WARN if known.unverified else "none", "no verdict yet"))
        kind = kind or (WARN if known.unverified else CALM)
    if runs.hold:
        badges.append((WARN, "held"))
        kind = kind or WARN
    # In trouble the large figure is the trouble; what runs stands below.
    if runs.refused:
        figure, text = badges.pop(0)[1], f"{runs.commit[:12]} runs" if runs.commit else "nothing runs"
        return Tile("Release", figure, text, kind, tuple(badges) if runs.commit else ())
    return Tile("Release", runs.commit[:12] if runs.commit else "none", "", kind, tuple(badges))


def _accuracy(known: Known) -> Tile:
    claimed = known.card.figures.means.get("mean_accuracy") if known.card else None
    measured = known.measured
    if known.inaccurate and measured is not None and measured.accuracy is not None:
        labels = "" if measured.labels is None else f"on {measured.labels:,} labels, "
        when = "last check" if measured is known.last else f"check of {measured.at:%Y-%m-%d}"
        claim = f" (claimed {_percent(claimed.value)})" if claimed else ""
        return Tile("Accuracy", _percent(measured.accuracy.value), f"{labels}{when}{claim}", BAD)
    if claimed is None:
        return Tile("Accuracy", "none", "no model yet")
    return Tile("Accuracy", _percent(claimed.value), "on its hold-out set")


def _week(known: Known) -> Tile:
    week = known.week
    if week is None:
        return Tile("Last 7 days", "not known", "")
    if known.quarantined > QUARANTINE:
        return Tile("Last 7 days", f"{week.bad:,}", f"images in quarantine, {week.rows:,} scored", WARN)
    return Tile("Last 7 days", f"{week.rows:,}", f"images scored, {week.bad:,} in quarantine")


def _check(known: Known) -> Tile:
    if known.last is None:
        text = "nothing was checked yet" if known.checks is not None else "not known"
        return Tile("Last check", "none", text, WARN if known.unchecked else CALM)
    figure, at = drifted(known.last), f"{known.last.at:%Y-%m-%d %H:%M} UTC"
    if known.drifting:
        moved = len(known.last.moved)
        return Tile("Last check", "drift", f"in {moved} column{'' if moved == 1 else 's'}, {at}", BAD)
    return Tile("Last check", figure, at, WARN if known.unchecked else CALM)


def _open(check: Check, alarm: str) -> bool:
    return alarm in (check.alarm or "").split(", ")


def _said(check: Check) -> str:
    return "".join(f"{reason}. " for reason in check.reasons).strip()


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _long(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} h"
