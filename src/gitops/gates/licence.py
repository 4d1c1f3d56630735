"""The gate of licences: whether the data of a model allow the use of an environment."""

from collections.abc import Iterable

from gitops.gates.result import GateResult
from gitops.release.licences import PATH, Licences, Use

LICENCES = "licences of the data"
_FEW = 3


def judge(licences: Licences, source: object, batches: Iterable[str], use: Use) -> GateResult:
    """Return the row of the licences.

    Args:
        licences: Those of main.
        source: The source of the model's data.
        batches: The labelled batches that were appended to it.
        use: The use of the environment.

    """
    forbidden = licences.forbidden(source, batches, use)
    shown = forbidden[:_FEW] or [f"source {source}"]
    if len(forbidden) > _FEW:
        shown.append(f"{len(forbidden) - _FEW} more")
    remedy = f"train on data that allow it, or state the licence in {PATH}" if forbidden else ""
    return GateResult(LICENCES, ", ".join(shown), f"data that allow USE={use}", "", not forbidden, remedy)
