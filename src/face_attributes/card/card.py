"""Card: the stage that writes `metrics/card.json` and `metrics/card.md` from the metrics of the other stages.

A field that no stage measured is null in the JSON, and "not evaluated" on the page: nothing is left out.
"""

import json
import logging
from pathlib import Path
from typing import Any

from face_attributes.card import energy, text
from face_attributes.common.errors import DataError
from face_attributes.common.files import write_json, write_text
from face_attributes.common.licences import Terms, read
from face_attributes.common.paths import (
    BEST,
    CARD,
    CARD_PAGE,
    EVALUATION,
    EXPLANATIONS,
    EXPORT,
    GROUPS,
    LABELLED,
    LICENCES,
    SEARCH,
    TRAINING,
)
from face_attributes.params import Params

log = logging.getLogger(__name__)

Values = dict[str, str | None]
_FEW = 5
_RARELY_FOUND = 0.5


def run(params: Params) -> None:
    """Run the stage.

    Raises:
        DataError: a file of another stage is missing or damaged.

    """
    content = make(params)
    write_json(CARD, content)
    write_text(CARD_PAGE, text.page(content["sections"]))
    open_fields = sum(value is None for section in content["sections"].values() for value in section.values())
    log.info(f"card: {CARD_PAGE} written, {open_fields} fields not evaluated")


def make(params: Params) -> dict[str, Any]:
    """Return the content of `metrics/card.json`."""
    evaluation, training, export = _read(EVALUATION), _read(TRAINING), _read(EXPORT)
    groups, explanations, best = _read(GROUPS), _read(EXPLANATIONS), _read(BEST)
    batches = sorted(path.name.removesuffix(".parquet.dvc") for path in LABELLED.glob("*.parquet.dvc"))
    terms = read(LICENCES)
    source = params.data.source
    return {
        "format": 1,
        "model_sha256": evaluation["model_sha256"],
        "sections": {
            "Model": _model(evaluation, training, export),
            "Use": dict(text.USE),
            "Data": _data(source, terms.get(f"source {source}"), batches, terms, training, evaluation),
            "Training": _training(params, training, best),
            "Results on the hold-out set": _results(evaluation),
            "Groups of people": _groups(groups),
            "Export": _export(export),
            "Limits": {**_limits(evaluation), **text.limits(source)},
            "Explanations": _explanations(explanations),
            "Time and energy": _energy(params, training, _read(SEARCH)),
        },
    }


def _model(evaluation: dict, training: dict, export: dict) -> Values:
    attributes = list(evaluation.get("per_attribute", {}))
    return {
        "sha256": evaluation["model_sha256"],
        "profile": evaluation.get("profile"),
        "variant": export.get("variant"),
        "weights": _number(training.get("weights")),
        "input": "RGB images of 178 x 218 pixels, each an aligned face",
        "output": f"a probability for each of {len(attributes)} attributes, and a decision by its threshold",
        "attributes": ", ".join(attributes) or None,
    }


def _data(
    source: str,
    own: Terms | None,
    batches: list[str],
    terms: dict[str, Terms],
    training: dict,
    evaluation: dict,
) -> Values:
    appended = [
        f"{name} ({found.licence if found else 'licence not stated'})"
        for name in batches
        for found in [terms.get(f"batch {name}") or terms.get("batch other")]
    ]
    return {
        "source": f"{source}: {own.name}" if own else source,
        "licence": own.licence if own else None,
        "terms": own.url if own else None,
        "uses that it allows": ", ".join(own.uses) if own else None,
        "photographs of people": None if own is None else "yes" if own.photographs else "no",
        "labelled batches appended": ", ".join(appended) or "none",
        "training images": _number(training.get("train_images")),
        "validation images": _number(training.get("validation_images")),
        "hold-out images": _number(evaluation.get("samples")),
        "duplicates left out": _number(training.get("duplicates_left_out")),
    }


def _training(params: Params, training: dict, best: dict) -> Values:
    searched = {name: f"{value:.4g}" for name, value in best.items() if isinstance(value, int | float)}
    return {
        "hyperparameters": ", ".join(f"{name} {value}" for name, value in searched.items()) or None,
        "trials of the search": _number(params.tune.trials),
        "epochs": _number(training.get("epochs")),
        "batch size": _number(params.train.batch_size),
        "seed": _number(params.train.seed),
        "device": training.get("device"),
        "precision": training.get("precision"),
        "validation accuracy": _share(training.get("validation_accuracy")),
    }


def _results(evaluation: dict) -> Values:
    rows = evaluation.get("per_attribute", {})
    ranked = sorted(rows, key=lambda name: rows[name]["accuracy"])[:_FEW]
    worst = evaluation.get("worst_slice")
    return {
        "mean accuracy": _interval(evaluation, "mean_accuracy"),
        "majority-class baseline": _share(evaluation.get("majority_accuracy")),
        "mean balanced accuracy": _share(evaluation.get("mean_balanced_accuracy")),
        "mean F1": _share(evaluation.get("mean_f1")),
        "mean average precision": _share(evaluation.get("mean_average_precision")),
        "mean area under ROC": _share(evaluation.get("mean_roc_auc")),
        "mean calibration error": _share(evaluation.get("mean_calibration_error")),
        "smallest loss that a comparison shows": _share(evaluation.get("visible_loss")),
        "lowest accuracies": "; ".join(f"{name} {_interval(rows[name], 'accuracy')}" for name in ranked)
        or None,
        "worst slice": f"{worst['name']} {_interval(worst, 'accuracy')}" if worst else None,
    }


def _groups(groups: dict) -> Values:
    gaps = [gap for gap in groups.get("gaps", ()) if gap["low"] > 0]
    found = groups.get("contradictions") or {}
    return {
        "groups": ", ".join(f"{name} ({row['count']:,})" for name, row in groups["groups"].items())
        if groups
        else None,
        "images that a gap needs": _number(groups.get("minimum")),
        "gaps that chance hardly explains": _number(len(gaps)) if groups else None,
        "largest gaps of the true positive rate": _largest(gaps) if groups else None,
        "contradictory answers": _interval(found, "rate"),
        "contradictory labels": _share(found.get("labels")),
    }


def _largest(gaps: list[dict]) -> str:
    shown = (
        f"{gap['attribute']} of {gap['group']}: {gap['tpr']:.4f}, all others {gap['others']:.4f} "
        f"(gap {gap['low']:.4f} to {gap['high']:.4f})"
        for gap in gaps[:_FEW]
    )
    return "; ".join(shown) or "none"


def _export(export: dict) -> Values:
    difference = export.get("max_difference")
    return {
        "largest difference from PyTorch": None if difference is None else f"{difference:.2g}",
        "decisions that the export changes": _number(export.get("decisions_changed")),
        "accuracy that the variant costs": _share(export.get("accuracy_loss")),
    }


def _limits(evaluation: dict) -> Values:
    rows = evaluation.get("per_attribute", {})
    below = [name for name, row in rows.items() if row["accuracy"] <= row["majority_accuracy"]]
    missed = [
        f"{name} {row['recall']:.2f}"
        for name, row in rows.items()
        if row.get("recall") is not None and row["recall"] < _RARELY_FOUND
    ]
    return {
        "no better than the majority class": (", ".join(below) or "none") if rows else None,
        "rarer answer found in less than half": (", ".join(missed) or "none") if rows else None,
    }


def _explanations(explanations: dict) -> Values:
    inside, region = explanations.get("mean_share"), explanations.get("mean_region")
    return {
        "share of occlusion maps inside of the true region": _share(inside),
        "share of the image that the region is": _share(region),
    }


def _energy(params: Params, training: dict, search: dict) -> Values:
    threads = params.train.threads
    return {
        **_spent("training", training, threads),
        **_spent("search", search, threads * params.tune.parallel),
        "formula": f"time x (cores x {energy.WATTS_PER_CORE:g} W + GB x {energy.WATTS_PER_GIGABYTE:g} W) x "
        f"{energy.OVERHEAD:g}: Lannelongue et al., Green Algorithms, Advanced Science 8 (2021), 2100707",
    }


def _spent(work: str, cost: dict, threads: int) -> Values:
    seconds, cores, memory = (cost.get(name) for name in ("seconds", "cores", "memory_gb"))
    used = None if cores is None else min(cores, threads)
    estimate = None
    if cost.get("device") == "cpu" and seconds is not None and used and memory is not None:
        estimate = f"{energy.kilowatt_hours(seconds, used, memory):.3g} kWh, an estimate"
    return {
        f"time of the {work}": None if seconds is None else f"{seconds / 60:.1f} minutes",
        f"cores of the {work}": _number(used),
        f"memory of the {work}": None if memory is None else f"{memory:.1f} GB",
        f"energy of the {work}": estimate,
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the stages before card first") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error}); run dvc repro again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: not an object of JSON; run dvc repro again")
    return content


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,}"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _interval(row: dict, name: str) -> str | None:
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return None
    return f"{value:.4f}" if None in (low, high) else f"{value:.4f} ({low:.4f} to {high:.4f})"
