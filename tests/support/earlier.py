"""Files as earlier commits of this repository wrote them, and the classes that must still read them."""

from typing import Any

from pydantic import BaseModel

from dashboard import checks, daily_stats, late_labels
from gitops.model.drift_comparison import DriftComparison
from gitops.model.evaluation import Evaluation, Variants
from gitops.model.metrics import Performance, Training
from gitops.release.serving import Serving
from visage_dags import records

_SHA, _DIGEST = "a" * 40, "b" * 64
_CHANGE = {"accuracy": 0.94, "incumbent": 0.86, "difference": 0.08, "low": 0.06, "high": 0.1, "p_worse": 1.0}
_ACCURACY = {"accuracy": 0.9, "accuracy_low": 0.88, "accuracy_high": 0.92}
_COLUMN = {
    "drifted": True,
    "p_value": 0.0,
    "p_value_threshold": 0.001,
    "distance": 0.3,
    "distance_threshold": 0.1,
    "mean": 0.5,
    "reference_mean": 0.4,
}
_DAYS = {"since": "2026-01-01", "until": "2026-01-07"}
_LINE: dict[str, Any] = {
    "run_id": "scheduled__2026-01-08T00:00:00+00:00",
    "at": "2026-01-08T00:00:00+00:00",
    "environment": "prod",
    "release": _SHA,
    "model_sha256": _DIGEST,
    "decision": "retrain",
    "reasons": ["Drift: 1 of 43 columns moved in 9,041 images, most of all brightness"],
    "triggered": "monitoring__scheduled__2026-01-08T00:00:00+00:00",
    "profile": "full",
    "drift": {
        **_DAYS,
        "files": 7,
        "rows": 9041,
        "rows_used": 2000,
        "reference_rows": 2000,
        "minimum": 100,
        "enough_data": True,
        "drifted": True,
        "columns": {"brightness": _COLUMN},
    },
    "performance": {
        **_DAYS,
        "label_files": 0,
        "labels": 0,
        "images": 0,
        "minimum": 100,
        "enough_labels": False,
        "threshold": 0.85,
        "below_threshold": None,
        "mean_accuracy": None,
        "mean_accuracy_low": None,
        "mean_accuracy_high": None,
    },
    "evidence": "monitoring/scheduled__2026-01-08T000000Z",
}

FILES: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "7d50019 evaluation: no intervals, no slices": (
        Evaluation,
        {
            "profile": "full",
            "samples": 2000,
            "model_sha256": _DIGEST,
            "mean_accuracy": 0.9,
            "majority_accuracy": 0.8,
            "mean_balanced_accuracy": 0.75,
            "mean_f1": 0.6,
            "mean_roc_auc": None,
            "per_attribute": {
                "Bald": {"accuracy": 0.98, "majority_accuracy": 0.98, "f1": None, "positives": 0.0}
            },
        },
    ),
    "de64c02 evaluation: intervals of every mean": (
        Evaluation,
        {
            "profile": "full",
            "samples": 2000,
            "model_sha256": _DIGEST,
            **{
                f"mean_{name}{end}": 0.9
                for name in ("accuracy", "balanced_accuracy", "f1", "roc_auc")
                for end in ("", "_low", "_high")
            },
            "majority_accuracy": 0.8,
            "worst_slice": {"name": "dark", "by": "brightness", "count": 600, **_ACCURACY},
            "worst_slice_of_at_least": 30,
            "brightness_terciles": [90.0, 120.0],
            "slices": {"rare": {"by": "Male", "count": 0, **dict.fromkeys(_ACCURACY)}},
            "per_attribute": {"Bald": _ACCURACY},
        },
    ),
    "7d50019 export: one variant": (
        Variants,
        {"images": 500, "max_difference": 1e-6, "decisions_changed": 0, "variant": "float32"},
    ),
    "0f89459 training: duplicates were not counted": (
        Training,
        {"train_images": 6418, "validation_images": 814, "epochs": 6, "ended_by": "epochs"},
    ),
    "de64c02 performance": (
        Performance,
        {"variant": "int8", "model_bytes": 746355, "latency": {"batch_1": {"p50_ms": 1, "p95_ms": 2.5}}},
    ),
    "9e25690 drifted: format 1": (
        DriftComparison,
        {
            "format": 1,
            "model_sha256": _DIGEST,
            "incumbent_sha256": "c" * 64,
            "samples": 160,
            "mean_accuracy": _CHANGE,
            "per_attribute": {"Bald": _CHANGE},
            "slices": {},
            "batches": ["prod-2026-01-07"],
        },
    ),
    "67e3c2f drift: no windows": (checks.Evidence, {"release": _SHA, "columns": {"brightness": _COLUMN}}),
    "67e3c2f performance of late labels: no slices": (
        late_labels.Performance,
        {"images": 640, "per_attribute": {"Bald": {**_ACCURACY, "positives": 0.1}}},
    ),
    "ae4ac67 decision: no alarm, no episodes; read by the page": (checks.Line, _LINE),
    "ae4ac67 decision: no alarm, no episodes; read by the next check": (records.Past, _LINE),
    "3e2bb00 batch": (
        daily_stats.Batch,
        {
            "batch": "monday",
            "day": "2026-01-05",
            "release": None,
            "model_sha256": _DIGEST,
            "rows": 100,
            "quarantined": {"not a JPEG": 2},
            "attributes": {"Bald": {"mean_score": 0.1, "positive": 0.05}},
        },
    ),
    "1513685 release.json: no notice, no contract": (
        Serving,
        {"environment": "prod", "commit": _SHA, "declared": _SHA, "refused": None},
    ),
}
"""By the commit that wrote it so first, and the difference from today."""
