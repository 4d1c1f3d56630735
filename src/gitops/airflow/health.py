"""Health: whether an environment does worse since a release runs there. A function of plain values.

Each check compares the release with the one before. A difference counts only if the release has failed more
than once, and clearly more often: one bad minute is no reason to go back.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gitops.release.checks import Check
from gitops.release.health import State

SIGNIFICANT = 0.01
"""The largest probability that chance alone makes the release look worse."""
_MOST_NAMED = 3
_LEAST_IMAGES = 200
"""Images that a rate is measured on: in a smaller batch, the start of the task takes most of the time."""
_QUARANTINE = 0.05
"""How much larger the share of images in quarantine may be."""


@dataclass(frozen=True)
class Tally:
    """How many have failed of those that have ended."""

    failed: int = 0
    ended: int = 0

    @property
    def share(self) -> float:
        return self.failed / self.ended if self.ended else 0.0

    def __str__(self) -> str:
        return f"{self.failed} of {self.ended}"


@dataclass(frozen=True)
class Scoring:
    """The scoring of batches: images, the seconds that they took, and those that came into quarantine."""

    images: int = 0
    seconds: float = 0.0
    quarantined: int = 0

    @property
    def rate(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def unusable(self) -> Tally:
        return Tally(self.quarantined, self.images + self.quarantined)


@dataclass(frozen=True)
class Record:
    """The runs, tasks and batches of a release.

    Attributes:
        runs: The ended runs of each active DAG.
        attempts: The ended attempts of each task, by `dag.task`.
        late: The runs that missed their deadline, of those that ended.
        scoring: The scoring.

    """

    runs: Mapping[str, Tally] = field(default_factory=dict[str, Tally])
    attempts: Mapping[str, Tally] = field(default_factory=dict[str, Tally])
    late: Tally = Tally()
    scoring: Scoring = Scoring()


@dataclass(frozen=True)
class Observation:
    """The signs of an environment.

    Attributes:
        now: The record of the release, since it took its place.
        before: The record before.
        import_errors: The DAG files that cannot be imported since then, with the reasons.
        parsed: Whether every DAG was read again since then.
        ill: The faults of the environment itself.

    """

    now: Record = Record()
    before: Record = Record()
    import_errors: Mapping[str, str] = field(default_factory=dict[str, str])
    parsed: bool = True
    ill: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """The result: a state, each check, and the faults of the environment."""

    state: State
    checks: tuple[Check, ...] = ()
    ill: str = ""


def judge(seen: Observation, *, over: bool, slowest: float) -> Judgement:
    """Judge a release by the signs of its environment.

    Args:
        seen: The signs.
        over: Whether the time of the watch is over.
        slowest: How many times as long as before an image may take.

    """
    checks = tuple(_checks(seen, slowest))
    if seen.ill:
        # Whatever failed may have failed for that reason.
        return Judgement("errored", checks, "; ".join(seen.ill))
    if any(check.result == "failed" for check in checks):
        return Judgement("failed", checks)
    return Judgement("passed" if over and seen.parsed else "watching", checks)


def worse(now: Tally, before: Tally, *, least: int) -> bool:
    """Return whether a release fails more often than the one before.

    It has failed `least` times and not once succeeded, where the one before mostly did or never ran; or more
    often than chance explains, by Fisher's exact test.
    """
    if now.failed < least:
        return False
    if now.failed == now.ended and before.share <= 0.5:
        return True
    return before.ended > 0 and now.share > before.share and _chance(now, before) < SIGNIFICANT


def _checks(seen: Observation, slowest: float) -> Iterator[Check]:
    errors = [f"{file}: {reason}" for file, reason in sorted(seen.import_errors.items())]
    yield _check("DAG files that cannot be imported", _named(errors) or "0", "no new one", not errors)
    yield _tallies("failed runs", seen.now.runs, seen.before.runs, least=2)
    yield _tallies("failed attempts of tasks", seen.now.attempts, seen.before.attempts, least=3)
    late, earlier = seen.now.late, seen.before.late
    yield _check(
        "runs after their deadline", f"{late}", f"{earlier} before", not worse(late, earlier, least=1)
    )
    yield _throughput(seen.now.scoring, seen.before.scoring, slowest)
    yield _quarantine(seen.now.scoring.unusable, seen.before.scoring.unusable)


def _tallies(name: str, now: Mapping[str, Tally], before: Mapping[str, Tally], *, least: int) -> Check:
    bad = [
        f"{key} {tally}"
        for key, tally in sorted(now.items())
        if worse(tally, before.get(key, Tally()), least=least)
    ]
    sums, earlier = _sum(now.values()), _sum(before.values())
    return _check(name, _named(bad) or f"{sums}", f"{earlier} before", not bad)


def _throughput(now: Scoring, before: Scoring, slowest: float) -> Check:
    limit = f"at least 1/{slowest:g} of {before.rate:.0f}/s" if before.rate else "none measured before"
    if min(now.images, before.images) < _LEAST_IMAGES or not before.rate:
        return Check(name="scoring throughput", value=f"{now.images} images", limit=limit, result="unknown")
    return _check("scoring throughput", f"{now.rate:.0f} images/s", limit, now.rate * slowest >= before.rate)


def _quarantine(now: Tally, before: Tally) -> Check:
    limit = f"at most {before.share + _QUARANTINE:.0%}"
    if min(now.ended, before.ended) < _LEAST_IMAGES:
        return Check(name="images in quarantine", value=f"{now}", limit=limit, result="unknown")
    right = now.share <= before.share + _QUARANTINE or _chance(now, before) >= SIGNIFICANT
    return _check("images in quarantine", f"{now.share:.1%}", limit, right)


def _check(name: str, value: str, limit: str, right: bool) -> Check:
    return Check(name=name, value=value, limit=limit, result="passed" if right else "failed")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return "; ".join(names[:_MOST_NAMED]) + more


def _sum(tallies: Iterable[Tally]) -> Tally:
    listed = list(tallies)
    return Tally(sum(one.failed for one in listed), sum(one.ended for one in listed))


def _chance(now: Tally, before: Tally) -> float:
    """Return how likely chance puts so many of all failures, or more, on the side of `now`."""
    failed, ended = now.failed + before.failed, now.ended + before.ended
    ways = _log_ways(ended, now.ended)
    likely = (
        _log_ways(failed, count) + _log_ways(ended - failed, now.ended - count) - ways
        for count in range(now.failed, min(failed, now.ended) + 1)
    )
    return math.fsum(map(math.exp, likely))


def _log_ways(things: int, chosen: int) -> float:
    if not 0 <= chosen <= things:
        return -math.inf
    return math.lgamma(things + 1) - math.lgamma(chosen + 1) - math.lgamma(things - chosen + 1)
