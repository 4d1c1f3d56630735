"""DORA's four metrics of software delivery, from git alone.

docs/operating.md has the definitions, and where they are from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import Any

from gitops.history import deployments
from gitops.history.deployments import Deployment
from gitops.history.trunk import Past
from gitops.release.environments import Environments
from gitops.release.verdicts import Verdicts

_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Delivery:
    """The four metrics of one environment.

    Attributes:
        environment: The environment.
        span: The time that they cover.
        deployments: The deployments in it, rollbacks left out.
        rollbacks: The number of rollbacks.
        lead_times: For each change that the environment verified: the time from its merge to that.
        restore_times: For each deployment that failed: the time until a verified release was declared.
        unrestored: The number of failed deployments after which nothing verified was declared yet.

    """

    environment: str
    span: timedelta
    deployments: tuple[Deployment, ...] = ()
    rollbacks: int = 0
    lead_times: tuple[timedelta, ...] = ()
    restore_times: tuple[timedelta, ...] = ()
    unrestored: int = 0

    @property
    def per_week(self) -> float:
        """Deployment frequency: deployments in a week."""
        return len(self.deployments) / max(self.span / _WEEK, 1 / 7)

    @property
    def failed(self) -> tuple[Deployment, ...]:
        return tuple(one for one in self.deployments if one.failed)

    @property
    def failure_rate(self) -> float | None:
        """Change failure rate: the share of deployments that failed; None without deployments."""
        return len(self.failed) / len(self.deployments) if self.deployments else None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {
            "environment": self.environment,
            "deployments": len(self.deployments),
            "deployments_per_week": round(self.per_week, 3),
            "rollbacks": self.rollbacks,
            "lead_time_hours": _hours(self.lead_times),
            "change_failure_rate": None if self.failure_rate is None else round(self.failure_rate, 4),
            "failed": [
                {
                    "release": one.release,
                    "declared": one.at.isoformat(),
                    "rejected": one.rejected.isoformat() if one.rejected else None,
                    "rolled_back": one.undone,
                }
                for one in self.failed
            ],
            "time_to_restore_hours": _hours(self.restore_times),
            "unrestored": self.unrestored,
        }


def measure(
    past: Past,
    environments: Environments,
    verdicts: Verdicts,
    *,
    now: datetime,
    since: datetime | None = None,
) -> list[Delivery]:
    """Return the metrics of each environment, in the order of promotion.

    Args:
        past: The past.
        environments: All environments.
        verdicts: The verdicts, which know the commits of main and all declared releases.
        now: The end of the time that they cover.
        since: Its beginning; by default the first commit of main.

    """
    start = max(since or deployments.beginning(past), deployments.beginning(past))
    places = {commit.commit.id: place for place, commit in enumerate(past.trunk)}
    merged = [(places[commit.commit.id], commit.at) for commit in deployments.changes(past, verdicts)]
    found: list[Delivery] = []
    for environment in environments:
        every = deployments.of_environment(past, environments, verdicts, environment)
        chosen = [one for one in every if one.at >= start]
        forward = tuple(one for one in chosen if not one.back)
        restored = [_restored(every, one) for one in forward if one.failed]
        found.append(
            Delivery(
                environment,
                max(now - start, timedelta()),
                forward,
                len(chosen) - len(forward),
                tuple(_lead_times(every, merged, places, start)),
                tuple(time for time in restored if time is not None),
                restored.count(None),
            )
        )
    return found


def _lead_times(
    every: Sequence[Deployment],
    merged: Sequence[tuple[int, datetime]],
    places: Mapping[str, int],
    start: datetime,
) -> list[timedelta]:
    """Return the time from the merge of each change to the first verified deployment that had it."""
    times: list[timedelta] = []
    reached = -1
    for one in every:
        place = places.get(one.release, -1)
        if one.verified is None or place <= reached:
            continue
        if one.at >= start:
            verified = one.verified
            times += [max(verified - at, timedelta()) for number, at in merged if reached < number <= place]
        reached = place
    return times


def _restored(every: Sequence[Deployment], failed: Deployment) -> timedelta | None:
    """Return the time from a failed deployment to the first later one that was verified, or None."""
    later = every[every.index(failed) + 1 :]
    return next((one.verified - failed.at for one in later if one.verified), None)


def _hours(times: Sequence[timedelta]) -> dict[str, float | int] | None:
    if not times:
        return None
    hours = [time.total_seconds() / 3600 for time in times]
    ninth = quantiles(hours, n=10, method="inclusive")[-1] if len(hours) > 1 else hours[0]
    return {"median": round(median(hours), 3), "p90": round(ninth, 3), "count": len(hours)}
