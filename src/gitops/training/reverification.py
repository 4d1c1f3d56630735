"""Reverification: when a verified release is verified again, and the changes since then."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from gitops.model.decisions import Decisions
from gitops.release.checks import Check
from gitops.release.runtimes import Runtime
from gitops.release.settings import Settings
from gitops.release.verdicts import Verdict

_MOST_NAMED = 5


def due(
    verdicts: Sequence[Verdict],
    present: Runtime,
    now: datetime,
    *,
    exact: bool = True,
    doubted: datetime | None = None,
) -> tuple[bool, timedelta | None]:
    """Return whether a release that was verified is verified again, and if not, the time until it may be.

    Args:
        verdicts: The verifications of the release by the environment, oldest first.
        present: The runtime.
        now: The present time.
        exact: Whether another processor is another runtime.
        doubted: When the environment rejected the release on another runtime.

    """
    same = [
        verdict
        for verdict in verdicts
        if verdict.runtime is None
        or (verdict.runtime.same(present) if exact else verdict.runtime.same_image(present))
    ]
    last = max((verdict.at for verdict in same), default=None)
    if last is None or (doubted is not None and doubted > last):
        return True, None
    hours = Settings.from_environ().reverify_hours
    if not hours:
        return False, None
    left = last + timedelta(hours=hours) - now
    return left <= timedelta(), max(left, timedelta())


def decisions(recorded: Decisions | None, measured: Decisions | None, most: float) -> Check | None:
    """Return the check of the decisions about the hold-out set; None where one side has none.

    Args:
        recorded: The decisions that the release records, on the runtime of its training.
        measured: Those on this runtime.
        most: The largest share of changed decisions.

    """
    if recorded is None or measured is None:
        return None
    limit = f"{most:.1%} at most"
    sides = [(one.holdout_md5, one.samples, one.attributes.keys()) for one in (recorded, measured)]
    if sides[0] != sides[1]:
        value = "of another hold-out set, or other attributes"
        return Check(name="changed decisions", value=value, limit=limit, result="unknown")
    changed = Counter(
        {
            name: sum(
                one != other
                for one, other in zip(
                    recorded.bits(answer.decisions),
                    measured.bits(measured.attributes[name].decisions),
                    strict=True,
                )
            )
            for name, answer in recorded.attributes.items()
        }
    )
    total, count = changed.total(), recorded.samples * len(recorded.attributes)
    named = [f"{name} {number}" for name, number in changed.most_common(_MOST_NAMED) if number]
    value = f"{total} of {count}" + (f": {', '.join(named)}" if named else "")
    result = "failed" if total > most * count else "passed"
    return Check(name="changed decisions", value=value, limit=limit, result=result)


def latency(milliseconds: float | None, before: Verdict | None) -> Check | None:
    """Return the check of the latency of one image here; None where it was not measured.

    Args:
        milliseconds: The median.
        before: The verification before, for comparison.

    """
    if milliseconds is None:
        return None
    most = Settings.from_environ().max_latency_ms
    limit = f"{most:g} ms at most"
    if before is not None and before.latency_ms is not None:
        limit += f", {before.latency_ms:.2f} ms before on ONNX Runtime {before.onnxruntime}"
    result = "passed" if milliseconds <= most else "failed"
    return Check(name="latency of one image", value=f"{milliseconds:.2f} ms", limit=limit, result=result)
