"""What a training run leaves in git, and what a comparison of two models writes."""

import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES

ATTRIBUTES = tuple(name for name in CELEBA_ATTRIBUTES if name not in ("Attractive", "Pointy_Nose"))
SLICES = ("Male", "not_Male", "Young", "not_Young", "Male_and_Young", "dark", "not_Male_and_not_Young")
EPOCHS = 24


def md5(content: bytes) -> str:
    """Return the digest by which DVC knows a file."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def model_md5(name: str) -> str:
    """Return the digest by which DVC knows the model of `model_files`, whose content is its name."""
    return md5(name.encode())


def model_files(
    name: str,
    accuracy: float = 0.9,
    *,
    profile: str = "full",
    samples: int = 2000,
    difference: float = 1e-6,
    attributes: Sequence[str] = ("Smiling",),
) -> dict[str, bytes]:
    """What a training run leaves in git."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    luck = 1.96 * (accuracy * (1 - accuracy) / samples) ** 0.5
    evaluation: dict[str, Any] = {
        "profile": profile,
        "mean_accuracy": accuracy,
        "mean_accuracy_low": max(accuracy - luck, 0),
        "mean_accuracy_high": min(accuracy + luck, 1),
        "majority_accuracy": 0.8,
        "mean_balanced_accuracy": 0.75,
        "model_sha256": digest,
        "samples": samples,
        "per_attribute": {one: {"accuracy": accuracy} for one in attributes},
    }
    export = {
        "max_difference": difference,
        "tolerance": 1e-3,
        "decisions_changed": 0,
        "variant": "int8",
        "accuracy_loss": 0.0002,
        "max_accuracy_loss": 0.001,
        "model_sha256": digest,
    }
    md5 = model_md5(name)
    outs = f"    outs:\n    - path: models/model.onnx\n      md5: {md5}\n"
    lock = f"schema: '2.0'\nstages:\n  export:\n    cmd: make it\n{outs}"
    return {
        "dvc.lock": lock.encode(),
        "metrics/evaluation.json": json.dumps(evaluation).encode(),
        "metrics/export.json": json.dumps(export).encode(),
    }


def measured(name: str, accuracy: float = 0.9, *, profile: str = "full", seed: int = 1) -> dict[str, bytes]:
    """What a training run leaves in git, with the metrics of every attribute and slice, and its curve."""
    dice = random.Random(seed)  # noqa: S311, for figures
    files = model_files(name, accuracy, profile=profile)
    evaluation = json.loads(files["metrics/evaluation.json"])
    spread = {one: dice.betavariate(2, 5) for one in ATTRIBUTES}
    mean = sum(spread.values()) / len(spread)

    def interval(value: float, width: float, key: str = "accuracy") -> dict[str, float]:
        value = round(min(max(value, 0.0), 1.0), 4)
        return {key: value, f"{key}_low": value - width, f"{key}_high": min(value + width, 1.0)}

    evaluation |= {
        **interval(accuracy, 0.002, "mean_accuracy"),
        "mean_balanced_accuracy": accuracy - 0.08,
        "mean_f1": accuracy - 0.2,
        "mean_roc_auc": 0.99 * accuracy,
        "worst_slice_of_at_least": 30,
        "per_attribute": {
            one: interval(1 - (1 - accuracy) * spread[one] / mean, 0.008)
            | {"majority_accuracy": round(dice.uniform(0.55, 0.97), 4)}
            for one in ATTRIBUTES
        },
        "slices": {
            one: interval(accuracy + dice.uniform(-0.02, 0.01), 0.006)
            | {"count": dice.randint(40, 900), "by": "x"}
            for one in SLICES
        }
        | {"a_handful": interval(0.2, 0.1) | {"count": 3, "by": "x"}},
    }
    rows = [(0.6 * 0.9**n + 0.1, 0.5 * 0.9**n + 0.12, accuracy - 0.3 * 0.8**n) for n in range(1, EPOCHS + 1)]
    curve = [f"{epoch},{one:.4f},{two:.4f},{three:.4f}" for epoch, (one, two, three) in enumerate(rows, 1)]
    performance = {
        "model_sha256": evaluation["model_sha256"],
        "variant": "int8",
        "model_bytes": 746_355,
        "latency": {"batch_1": {"p50_ms": 0.31, "p95_ms": 0.4}, "batch_64": {"p50_ms": 9.2, "p95_ms": 10.1}},
    }
    training = {
        "epochs": EPOCHS,
        "images_per_second": 1340.2,
        "device": "cpu",
        "precision": "bfloat16",
        "train_images": 6418,
        "validation_images": 814,
    }
    return files | {
        "metrics/evaluation.json": json.dumps(evaluation).encode(),
        "metrics/performance.json": json.dumps(performance).encode(),
        "metrics/training.json": json.dumps(training).encode(),
        "plots/learning_curve.csv": "\n".join(
            ["epoch,train_loss,validation_loss,validation_accuracy", *curve, ""]
        ).encode(),
    }


COMPARISON: dict[str, Any] = {
    "format": 2,
    "model_sha256": "a" * 64,
    "incumbent_sha256": "b" * 64,
    "holdout_sha256": "c" * 64,
    "samples": 2000,
    "resamplings": 10000,
    "mean_accuracy": {
        "accuracy": 0.901,
        "incumbent": 0.902,
        "difference": -0.001,
        "low": -0.004,
        "high": 0.002,
        "p_worse": 0.3,
    },
    "per_attribute": {
        name: {
            "accuracy": 0.9,
            "incumbent": 0.902,
            "difference": -0.002,
            "low": -0.006,
            "high": 0.002,
            "p_worse": 0.3,
            "p_worse_holm": 0.6,
            "rare": {
                "count": 600,
                "others": 1400,
                "found": 480,
                "false": 80,
                "incumbent_found": 482,
                "incumbent_false": 78,
                "lost": 12,
                "gained": 10,
            },
        }
        for name in ("Smiling", "Male")
    },
    "slices": {
        "dark": {
            "by": "brightness",
            "count": 600,
            "accuracy": 0.9,
            "incumbent": 0.906,
            "difference": -0.006,
            "low": -0.013,
            "high": 0.001,
            "p_worse": 0.06,
            "p_worse_holm": 0.06,
        }
    },
    "only_model": [],
    "only_incumbent": [],
    "latency": {
        "batch_1": {"p50_ms": 3.0, "incumbent_p50_ms": 2.0, "ratio": 1.5},
        "batch_64": {"p50_ms": 99.0, "incumbent_p50_ms": 90.0, "ratio": 1.1},
    },
    "size": {"bytes": 1_100_000, "incumbent_bytes": 1_000_000, "ratio": 1.1},
    "onnxruntime": "1.0",
    "cores": 2,
}
"""What the command `compare` of a release writes."""


def groups_file(tpr: float) -> bytes:
    """What the stage evaluate writes about groups: one finds this share of the big noses, the others 0.7."""
    gap = round(0.7 - tpr, 4)
    row = {"attribute": "Big_Nose", "group": "not Male", "tpr": tpr, "others": 0.7, "gap": gap}
    shares = {"rate": 0.01, "rate_low": 0.005, "rate_high": 0.02, "labels": 0.0}
    content = {
        "format": 1,
        "samples": 2000,
        "minimum": 30,
        "groups": {"not Male": {"by": "Male", "count": 1000}},
        "per_attribute": {},
        "gaps": [row | {"low": round(gap - 0.1, 4), "high": round(gap + 0.1, 4)}],
        "contradictions": shares,
    }
    return json.dumps(content).encode()


def card_file(licence: str) -> bytes:
    """What the stage card writes, in short."""
    sections = {"Model": {"SHA-256": "a" * 64}, "Data": {"licence": licence, "terms": None}}
    return json.dumps({"format": 1, "model_sha256": "a" * 64, "sections": sections}).encode()
