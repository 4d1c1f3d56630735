"""Evaluate: the exported model, on ONNX Runtime, on photographs that no training saw."""

import logging
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

from joblib import cpu_count

from face_attributes.common.files import write_json
from face_attributes.common.paths import (
    ACCURACIES,
    CALIBRATION,
    DECISIONS,
    EVALUATION,
    EXPLANATIONS,
    GROUPS,
    HOLDOUT,
    MODEL,
    PERFORMANCE,
    ROC,
    SERVED_WORST,
    SLICES,
    SUMMARY,
    WORST_ERRORS,
)
from face_attributes.evaluation import decisions, groups, occlusion, plots
from face_attributes.evaluation.predictions import Predictions, predict
from face_attributes.evaluation.summarize import judge
from face_attributes.model import latency
from face_attributes.model.onnx_model import Model
from face_attributes.params import EvaluateParams

log = logging.getLogger(__name__)

_EXPLAINED = {"full": 2, "small": 1}  # faces drawn for each attribute, by the profile
# The figures that fit on a line; the file with all of them has some eight hundred
_SUMMARY = ("mean_accuracy", "majority_accuracy", "mean_balanced_accuracy", "samples", "profile")


def run(params: EvaluateParams, source: str) -> None:
    """Run the stage: evaluate the exported model, and write the figures, their summary and the plots.

    Args:
        params: The parameters of the evaluation.
        source: The source of the images, `synthetic` or `celeba`.

    Raises:
        ModelError: the file is not a model.
        DataError: the hold-out set is damaged or lacks an attribute of the model.

    """
    model, predictions, figures = evaluate(params, MODEL, HOLDOUT, EVALUATION)
    decisions.write(model, predictions, HOLDOUT, DECISIONS)
    found = groups.measure(model, predictions)
    write_json(GROUPS, found)
    plots.served_worst(predictions, found, HOLDOUT, SERVED_WORST, drawn=source == "synthetic")
    write_json(SUMMARY, _summary(figures))
    write_json(PERFORMANCE, _performance(model))
    write_json(EXPLANATIONS, _explanations(model, drawn=source == "synthetic"))
    plots.accuracies(figures["per_attribute"], ACCURACIES)
    plots.slices(figures, SLICES)
    plots.roc(figures["per_attribute"], predictions, ROC)
    plots.calibration(predictions, CALIBRATION)
    plots.worst_errors(model, predictions, HOLDOUT, params.worst, WORST_ERRORS)


def evaluate(
    params: EvaluateParams, model: Path, holdout: Path, out: Path
) -> tuple[Model, Predictions, dict]:
    """Evaluate any model on any hold-out set, and write the metrics to `out`.

    Returns:
        The model, its predictions and the metrics.

    Raises:
        ModelError: the file is not a model.
        DataError: the hold-out set is damaged or lacks an attribute of the model.

    """
    loaded = Model(model)
    predictions = predict(loaded, holdout)
    figures = judge(loaded, predictions, params)
    write_json(out, figures)
    log.info(
        f"evaluate: mean accuracy {figures['mean_accuracy']:.2%} on {figures['samples']} images, "
        f"majority class {figures['majority_accuracy']:.2%}, {_worst_slice(figures)}"
    )
    log.info(_power(figures))
    return loaded, predictions, figures


def _power(figures: dict) -> str:
    """Return the line about the losses that a comparison on this hold-out set can show."""
    losses = {name: row["visible_loss"] for name, row in figures["per_attribute"].items()}
    ranked = sorted(losses, key=lambda name: losses[name])
    each = ", ".join(f"{name} {100 * losses[name]:.1f}" for name in ranked)
    return (
        f"evaluate: smallest loss that a comparison on these images shows (80% power), in points: "
        f"mean {100 * figures['visible_loss']:.2f}; {each}"
    )


def _worst_slice(figures: dict) -> str:
    worst = figures["worst_slice"]
    return f"worst slice {worst['accuracy']:.2%} ({worst['name']})" if worst else "too few images for slices"


def _summary(figures: dict) -> dict:
    worst = figures["worst_slice"]
    return {name: figures[name] for name in _SUMMARY} | {"worst_slice": worst and worst["accuracy"]}


def _explanations(model: Model, *, drawn: bool) -> dict:
    """Return how much of the occlusion maps is inside of the true regions. Photographs have none."""
    faces = _EXPLAINED[model.profile] if drawn else 0
    shares = occlusion.shares(model, faces) if faces else {}
    known = [share for row in shares.values() if (share := row["share"]) is not None]
    regions = [region for row in shares.values() if (region := row["region"]) is not None]
    return {
        "format": 1,
        "model_sha256": model.sha256,
        "faces": faces,
        "mean_share": round(fmean(known), 4) if known else None,
        "mean_region": round(fmean(regions), 4) if known else None,
        "per_attribute": shares,
    }


def _performance(model: Model) -> dict:
    """Return the size of a model and its latency on this machine, which no two runs measure alike."""
    measured = [latency.measure([model], batch)[0] for batch in latency.BATCHES]
    return {
        "format": 1,
        "model_sha256": model.sha256,
        "variant": model.variant,
        "model_bytes": model.bytes,
        "onnxruntime": version("onnxruntime"),
        "cores": cpu_count(),
        "latency": {
            f"batch_{one.batch}": {"p50_ms": round(one.p50_ms, 2), "p95_ms": round(one.p95_ms, 2)}
            for one in measured
        },
    }
