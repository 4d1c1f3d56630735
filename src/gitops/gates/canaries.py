"""Canaries: whether a model that answers a share of the batches may go on. Functions of plain values."""

from collections.abc import Iterator, Sequence

from gitops.gates.shadows import Figures, Shadowed
from gitops.release import checks
from gitops.release.checks import Check
from gitops.release.settings import Settings

_LONGEST_GATE = 100


def judge(report: Shadowed, settings: Settings) -> tuple[Check, ...]:
    """Return the checks of a canary by its report; one that failed ends it."""
    return tuple(_checks(report, settings))


def worse(report: Shadowed, settings: Settings) -> str:
    """Return why a canary has to end, as one line, or "" if it may go on."""
    return checks.failures(judge(report, settings))


def lacking(report: Shadowed | None, share: int, settings: Settings) -> str:
    """Return the evidence that is missing for a larger share, or "" if there is enough.

    Args:
        report: The newest report on the canary, or None.
        share: The share that main declares.
        settings: The settings of the environment.

    """
    needed = settings.canary_images
    answered = report.answered if report is not None and report.share == share else 0
    if answered < needed:
        return f"it has answered {answered} of {needed} images at {share}%"
    return ""


def _checks(report: Shadowed, settings: Settings) -> Iterator[Check]:
    yield Check(
        name="batches that the canary cannot score",
        value=f"{report.failed}{f': {report.reason}' if report.reason else ''}",
        limit="none",
        result="failed" if report.failed else "passed",
    )
    figures = report.figures
    if figures is None:
        return
    yield _in_time(figures, settings)
    for row in report.judge(settings):
        yield Check(
            name=row.gate,
            value=row.value,
            limit=row.limit[:_LONGEST_GATE],
            result="passed" if row.ok else "failed",
        )


def _in_time(figures: Figures, settings: Settings) -> Check:
    slow: Sequence[str] = [
        name.replace("_", " ")
        for name, times in figures.latency.items()
        if times.at_least > settings.max_latency_ratio
    ]
    shown = ", ".join(f"{times.ratio:.2f} at {name}" for name, times in figures.latency.items())
    one = min((times.p50_ms for times in figures.latency.values()), default=0.0)
    return Check(
        name="latency",
        value=f"{shown}, {one:.3g} ms for an image".replace("_", " "),
        limit=f"at most {settings.max_latency_ratio:g} times, {settings.max_latency_ms:g} ms",
        result="failed" if slow or one > settings.max_latency_ms else "passed",
    )
