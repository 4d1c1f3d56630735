"""Trends: accuracy, speed and size of the models that main had, one after the other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gitops.history.trunk import Past, TrunkCommit
from gitops.model.metrics import Interval, Metrics
from gitops.paths import EVALUATION, EXPORT, PERFORMANCE

FILES = (EVALUATION, EXPORT, PERFORMANCE)
"""The files that trends are read from."""


@dataclass(frozen=True)
class Point:
    """A value of one model, with its interval where that is known."""

    commit: str
    at: datetime
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Trend:
    """One value over all models of main, oldest first; `format` is how it is written."""

    title: str
    format: str
    points: tuple[Point, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        points = [{**point.__dict__, "at": point.at.isoformat()} for point in self.points]
        return {"title": self.title, "points": points}


def candidates(past: Past) -> list[TrunkCommit]:
    """Return the commits of main that may have another model, oldest first."""
    return [commit for commit in past.trunk if any(change.path in FILES for change in commit.changes)]


def trends(commits: Iterable[TrunkCommit], metrics: Mapping[str, Metrics]) -> list[Trend]:
    """Return the trends over commits of main, by the metrics of each commit."""
    models: list[tuple[TrunkCommit, Metrics]] = []
    for commit in commits:
        found = metrics[commit.commit.id]
        if found.sha256 and (not models or found.sha256 != models[-1][1].sha256):
            models.append((commit, found))
    latencies = dict.fromkeys(name for _, found in models for name in found.speed if "median" in name)
    trends = [
        _trend("mean accuracy", "{:.2%}", models, [found.means.get("mean_accuracy") for _, found in models]),
        _trend(
            "mean balanced accuracy",
            "{:.2%}",
            models,
            [found.means.get("mean_balanced_accuracy") for _, found in models],
        ),
        *(
            _trend(f"{name}, ms", "{:.2f}", models, [_exact(found.speed.get(name)) for _, found in models])
            for name in latencies
        ),
        _trend("size, bytes", "{:,.0f}", models, [_exact(found.model_bytes) for _, found in models]),
    ]
    return [trend for trend in trends if trend.points]


def _trend(
    title: str,
    form: str,
    models: Sequence[tuple[TrunkCommit, Metrics]],
    values: Sequence[Interval | None],
) -> Trend:
    points = (
        Point(commit.commit.id, commit.at, value.value, value.low, value.high)
        for (commit, _), value in zip(models, values, strict=True)
        if value is not None
    )
    return Trend(title, form, tuple(points))


def _exact(value: float | None) -> Interval | None:
    return None if value is None else Interval(float(value))
