"""Reports on a model that an environment tries beside its release."""

import json
from pathlib import Path
from typing import Any

from gitops.gates.shadows import Shadowed
from gitops.git.workspace import Origin
from gitops.training import shadowing
from tests.support.figures import ATTRIBUTES
from tests.support.lab import Lab


def figures(images: int = 500, *, lost: int = 0, answered: int = 0) -> dict[str, Any]:
    """Figures as the command `shadow` writes them; with `lost`, one attribute is worse on labelled images."""
    share = {"agreement": 0.98, "yes": 0.3, "incumbent_yes": 0.31, "distance": 0.02}
    count, found = 400, 380

    def part(less: int) -> dict[str, Any]:
        rare = {"count": count, "others": 600, "found": found - less, "false": 0, "gained": 0}
        rare |= {"incumbent_found": found, "incumbent_false": 0, "lost": less}
        difference = -less / 1000
        spread = 0.004 if less else 0.0
        return {
            "accuracy": 0.98 + difference,
            "incumbent": 0.98,
            "difference": difference,
            "low": difference - spread,
            "high": difference + spread,
            "p_worse": 0.0 if less else 1.0,
            "p_worse_holm": 0.0 if less else 1.0,
            "rare": rare,
        }

    rows = {name: part(lost if number == 0 else 0) for number, name in enumerate(ATTRIBUTES)}
    mean = {key: rows[ATTRIBUTES[1]][key] for key in ("accuracy", "incumbent", "difference", "low", "high")}
    return {
        "format": 1,
        "images": images,
        "batches": 3,
        "answered": answered,
        "agreement": 0.98,
        "per_attribute": dict.fromkeys(ATTRIBUTES, share),
        "only_model": [],
        "only_incumbent": [],
        "latency": {"batch_1": {"p50_ms": 2.0, "incumbent_p50_ms": 2.1, "ratio": 0.952}},
        "labelled": 1000 if lost else 0,
        "comparison": {
            "samples": 1000,
            "resamplings": 10000,
            "mean_accuracy": {**mean, "p_worse": 1.0},
            "per_attribute": rows,
        }
        if lost
        else None,
    }


def sha256(lab: Lab, commit: str) -> str:
    """Return the digest of the model of a commit."""
    content = lab.origin.read(commit, "metrics/evaluation.json")
    return json.loads(content or b"")["model_sha256"]


def about(
    lab: Lab,
    two: tuple[str, str],
    figures: dict[str, Any] | None,
    failed: int = 0,
    reason: str = "",
    share: int | None = None,
) -> Shadowed:
    """Return the report of staging on the second of two commits, beside the first."""
    first, second = two
    models = [sha256(lab, second), sha256(lab, first)]
    return shadowing.report("staging", (second, first), models, failed, reason, figures, share)


def answer(lab: Lab, folder: Path, report: Shadowed, *, by: str = "staging") -> None:
    """Push a report, signed with the key of an environment."""
    shadowing.publish(origin(lab), report, mirror=folder / "mirror.git", key=lab.key(by))


def origin(lab: Lab) -> Origin:
    return Origin(str(lab.origin.path))
