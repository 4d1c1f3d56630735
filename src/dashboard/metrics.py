"""Metrics of the environment in OpenMetrics, which Prometheus and its relatives collect.

A program that collects has no session, so it shows a token. Where no token is set, nobody gets them.
"""

import contextlib
import hmac
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from dashboard import checks, daily_stats, model_card, processes, running
from dashboard.checks import Check
from dashboard.environment_paths import EnvironmentPaths
from dashboard.errors import DashboardError
from dashboard.glance import PageData
from dashboard.processes import Restarts
from dashboard.running import Running
from gitops.model.metrics import Interval

log = logging.getLogger(__name__)

TOKEN = "VISAGE_METRICS_TOKEN"  # noqa: S105, the name of the variable
"""Variable: the token that a program must show, as `Authorization: Bearer TOKEN`."""
CONTENT_TYPE = CONTENT_TYPE_LATEST

_SHORTEST = 16
_WEEK = timedelta(days=6)
_FRESH = timedelta(minutes=5)
_INCOMING = "incoming"

T = TypeVar("T")


@dataclass(frozen=True)
class Waiting:
    """The batches that wait to be scored, and when the oldest of them came."""

    count: int
    since: datetime | None


def permitted(authorization: str) -> bool:
    """Return whether a header `Authorization` has the token; a token of under 16 characters never counts."""
    token = os.environ.get(TOKEN, "")
    scheme, _, shown = authorization.partition(" ")
    matches = hmac.compare_digest(shown.strip().encode(), token.encode())
    return len(token) >= _SHORTEST and scheme.lower() == "bearer" and matches


class Releases:
    """Reads the running release, and keeps it until a reference or `release.json` changes.

    After some hundred releases, reading it takes seconds, and a program collects each 15 seconds. Holds
    depend on the time, so it is read again after some minutes too. Only one request at a time reads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[object, datetime, Running] | None = None

    def read(self, paths: EnvironmentPaths, now: datetime) -> Running:
        """Return the running release.

        Raises:
            DashboardError: The file or the repository cannot be read.

        """
        with self._lock:
            state = running.fingerprint(paths)
            if self._last is not None:
                known, at, release = self._last
                if known == state and timedelta() <= now - at < _FRESH:
                    return release
            release = running.read(paths)
            self._last = state, now, release
            return release


def text(paths: EnvironmentPaths, now: datetime, releases: Releases) -> bytes:
    """Return all metrics of an environment."""
    registry = CollectorRegistry()
    registry.register(_Environment(paths, now, releases))
    return generate_latest(registry)


class _Environment(Collector):
    """The metrics of one environment at one time."""

    def __init__(self, paths: EnvironmentPaths, now: datetime, releases: Releases) -> None:
        self._paths = paths
        self._releases = releases
        self._now = now
        self._readable: dict[str, bool] = {}

    def describe(self) -> list[Metric]:
        """Return no names, so that the registry does not collect to learn them."""
        return []

    def collect(self) -> Iterator[Metric]:
        paths, today = self._paths, self._now.astimezone(UTC).date()
        runs = self._part("release", lambda: self._releases.read(paths, self._now))
        commit = runs.commit if runs else None
        repository = running.repository
        card = self._part("model", lambda: model_card.read(repository(paths), commit)) if commit else None
        record = self._part("checks", lambda: checks.read(paths.home))
        days = self._part("scores", lambda: daily_stats.read(paths.home, today - _WEEK, today))
        week = None if days is None else daily_stats.merge(today, days)
        # A value that leaves out the newest check, or a batch, must not pass for the whole
        if record is not None and record.is_newest_damaged:
            self._readable["checks"] = False
        if week is not None and week.damaged:
            self._readable["scores"] = False
        waiting = self._part("batches", lambda: _waiting(paths))
        data = PageData(self._now, runs, card, week, record.checks if record else None)
        yield from self._release(data)
        yield from self._accuracy(data)
        yield from self._checks(data)
        if week is not None:
            yield self._gauge("scored_images", "Images that were scored in the last 7 days", week.rows)
            yield self._gauge(
                "quarantined_images", "Images that went to quarantine in the last 7 days", week.bad
            )
        if waiting is not None:
            yield self._gauge("waiting_batches", "Batches that wait to be scored", waiting.count)
            if waiting.since is not None:
                name, what = "waiting_batch_timestamp_seconds", "When the oldest waiting batch came"
                yield self._gauge(name, what, waiting.since.timestamp())
        restarts = self._part("processes", lambda: processes.read(paths.environment))
        yield from _restarts(paths.environment, restarts or ())
        family = GaugeMetricFamily(
            "visage_part_readable",
            "1 if a part of the metrics could be read; otherwise its metrics are missing or incomplete",
            labels=("environment", "part"),
        )
        for part, readable in self._readable.items():
            family.add_metric((paths.environment, part), float(readable))
        yield family

    def _release(self, data: PageData) -> Iterator[Metric]:
        runs = data.running
        if runs is None:
            return
        info = InfoMetricFamily("visage_release", "The release that runs and the one that main declares")
        model = data.card.figures.sha256 if data.card else None
        labels = {"running": runs.commit, "declared": runs.declared, "model_sha256": model}
        info.add_metric(
            (), {"environment": runs.environment, **{key: value or "" for key, value in labels.items()}}
        )
        yield info
        yield self._gauge(
            "release_in_sync", "1 if the declared release runs, 0 if it is refused", runs.refused is None
        )
        if runs.change is not None:
            name = "release_timestamp_seconds"
            yield self._gauge(name, "When main declared the running release", runs.change.at.timestamp())
        yield self._gauge(
            "release_verified", "1 if the running release is verified here", runs.verdict is not None
        )
        yield self._gauge(
            "release_rejected",
            "1 if this environment rejected the declared release",
            runs.rejection is not None,
        )
        if runs.verdict is not None:
            at = runs.verdict.at.timestamp()
            yield self._gauge("verdict_timestamp_seconds", "When the running release was verified", at)
        yield self._gauge("holds", "Holds that keep promotions away", len(runs.holds))

    def _accuracy(self, data: PageData) -> Iterator[Metric]:
        verdict = data.running.verdict if data.running else None
        recorded = data.card.figures.means.get("mean_accuracy") if data.card else None
        late = data.measured.accuracy if data.measured else None
        values = {
            "recorded": recorded,
            "verified": Interval(verdict.measured_accuracy)
            if verdict and verdict.measured_accuracy is not None
            else None,
            "late_labels": late,
        }
        family = GaugeMetricFamily(
            "visage_accuracy_ratio",
            "Mean accuracy: recorded by the release, measured by the verification, and on late labels",
            labels=("environment", "source", "bound"),
        )
        for source, interval in values.items():
            for bound in ("value", "low", "high"):
                value = None if interval is None else getattr(interval, bound)
                if value is not None:
                    family.add_metric((self._paths.environment, source, bound), value)
        yield family

    def _checks(self, data: PageData) -> Iterator[Metric]:
        last = data.last
        if last is None:
            return
        yield self._gauge(
            "check_timestamp_seconds", "When the last check of monitoring ran", last.at.timestamp()
        )
        yield self._gauge("check_images", "Images in the last check", last.rows or 0)
        yield self._gauge("drifted_columns", "Columns beyond their limits in the last check", len(last.moved))
        if last.threshold is not None:
            yield self._gauge(
                "accuracy_limit_ratio", "The limit of accuracy in the last check", last.threshold
            )
        family = GaugeMetricFamily(
            "visage_alert_open", "1 if an alert of monitoring is open", labels=("environment", "alert")
        )
        for alert, is_open in (("accuracy", data.inaccurate), ("drift", data.drifting)):
            family.add_metric((self._paths.environment, alert), float(is_open))
        yield family
        yield from _distance(self._paths.environment, last)

    def _gauge(self, name: str, documentation: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"visage_{name}", documentation, labels=("environment",))
        family.add_metric((self._paths.environment,), float(value))
        return family

    def _part(self, name: str, read: Callable[[], T]) -> T | None:
        """Read a part. One that cannot be read must not hide the others."""
        self._readable[name] = False
        try:
            value = read()
        except (DashboardError, OSError) as error:
            log.warning("Metrics of %s: %s", name, error)
            return None
        except Exception:
            log.exception("Metrics of %s cannot be read", name)
            return None
        self._readable[name] = True
        return value


def _distance(environment: str, last: Check) -> Iterator[Metric]:
    share = last.largest.share if last.largest else None
    if share is None:
        return
    family = GaugeMetricFamily(
        "visage_largest_drift_ratio",
        "The largest distance of a column from the reference, as a multiple of its limit",
        labels=("environment",),
    )
    family.add_metric((environment,), share)
    yield family


def _restarts(environment: str, restarts: tuple[Restarts, ...]) -> Iterator[Metric]:
    if not restarts:
        return
    family = GaugeMetricFamily(
        "visage_process_restarts",
        "How often a process of the local engine ended and was started again since make up",
        labels=("environment", "process"),
    )
    for one in restarts:
        family.add_metric((environment, one.process), one.count)
    yield family


def _waiting(paths: EnvironmentPaths) -> Waiting:
    folder = paths.home / _INCOMING
    if not folder.is_dir():
        return Waiting(0, None)
    times = []
    for entry in os.scandir(folder):
        # A batch may be moved at this moment, because it is scored
        with contextlib.suppress(FileNotFoundError):
            if not entry.name.startswith(".") and entry.is_dir():
                times.append(entry.stat().st_mtime)
    return Waiting(len(times), datetime.fromtimestamp(min(times), UTC) if times else None)
