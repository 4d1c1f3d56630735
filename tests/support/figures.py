"""What a training run leaves in git, and what a comparison of two models writes."""

import hashlib
import json
from typing import Any


def model_files(
    name: str, accuracy: float = 0.9, *, profile: str = "full", samples: int = 2000, difference: float = 1e-6
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
        "per_attribute": {"Smiling": {"accuracy": accuracy}},
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
    outs = f"    outs:\n    - path: models/model.onnx\n      md5: {digest[:32]}\n"
    lock = f"schema: '2.0'\nstages:\n  export:\n    cmd: make it\n{outs}"
    return {
        "dvc.lock": lock.encode(),
        "metrics/evaluation.json": json.dumps(evaluation).encode(),
        "metrics/export.json": json.dumps(export).encode(),
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
