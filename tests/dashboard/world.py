"""An environment as the page finds it: a release that its bundle serves, batches that were scored, checks."""

import json
import math
import random
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from gitops.airflow.bundle import ReleaseBundle
from tests.support.bundles import UNCHECKED
from tests.support.figures import ATTRIBUTES, SLICES, card_file, groups_file, measured
from tests.support.lab import Lab

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
TODAY = NOW.date()


def trained(name: str, accuracy: float = 0.9) -> dict[str, bytes]:
    """What a training leaves in git, with the parameters of this repository."""
    files = measured(name, accuracy, seed=len(name))
    return files | {
        "params.yaml": (ROOT / "params.yaml").read_bytes(),
        "metrics/groups.json": groups_file(0.2),
        "metrics/card.json": card_file("MIT"),
        "plots/served_worst.jpg": b"\xff\xd8\xff a picture",
    }


class World:
    """One environment, its data folder and its bundle, on a real git repository."""

    def __init__(self, folder: Path, environment: str, set_variable: Callable[[str, str], object]) -> None:
        """Make it in a folder, and this process one of its own."""
        self.lab = Lab(folder / "lab")
        self.environment, self.home, self.storage = environment, folder / "home", folder / "bundles"
        self.variables = {
            "VISAGE_ENVIRONMENT": environment,
            "VISAGE_HOME": str(self.home),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(self.storage),
            "AIRFLOW_CONN_GIT_DEFAULT": json.dumps({"conn_type": "git", "host": str(self.lab.origin.path)}),
        }
        for name, value in self.variables.items():
            set_variable(name, value)
        self.home.mkdir()

    def serve(self, *, again: bool = False) -> "World":
        """Let the bundle look what is declared, as the dag-processor does; `again`, once more."""
        bundle = ReleaseBundle(name="release", environment=self.environment, refresh_interval=10, **UNCHECKED)
        bundle.initialize()
        if again:
            bundle.refresh()
        return self

    def train(self, name: str, accuracy: float = 0.9) -> str:
        return self.lab.land(trained(name, accuracy), message=f"Merge pull request #{len(name)} from {name}")

    def release(self, name: str, accuracy: float = 0.9, verdict: str | None = "verified") -> str:
        """Train, declare here and, where there is a verdict, let it be known; returns the commit."""
        commit = self.train(name, accuracy)
        if self.environment != "dev":
            self.lab.land(
                {f"environments/{self.environment}/release.yaml": f"commit: {commit}\n".encode()},
                message=f"Merge pull request #41 from visage/promote/{self.environment}",
            )
        if verdict:
            self.lab.verify(self.environment, commit, verdict)
        return commit

    def batch(self, day: date, name: str, rows: int = 100, **more: Any) -> Path:
        """Leave the figures of a scored batch."""
        path = self.home / "scores" / f"date={day}" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        figures = {"batch": name, "day": f"{day}", "rows": rows, "quarantined": {}, "attributes": {}} | more
        path.write_text(json.dumps(figures))
        return path

    def check(self, at: datetime, /, **more: Any) -> dict[str, Any]:
        """Leave a check's line and its evidence."""
        folder = f"monitoring/scheduled__{at:%Y-%m-%dT%H%M%S}Z"
        (self.home / folder).mkdir(parents=True, exist_ok=True)
        line = merged(check_line(at, folder, self.environment), more)
        assert line["at"] == at.isoformat()
        columns = {name: column(0.02) for name in ("Smiling_score", "brightness")} | line["drift"]["columns"]
        (self.home / folder / "drift.json").write_text(json.dumps({"columns": columns}))
        if line["performance"]["enough_labels"]:
            evidence = line["performance"] | labels(line["performance"]["mean_accuracy"])
            (self.home / folder / "performance.json").write_text(json.dumps(evidence))
        with (self.home / "monitoring/decisions.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def year(self, *, batches: int = 4, until: date = TODAY) -> "World":
        """Leave 365 days of batches and 52 weekly checks, that drift in the eleventh month and recover."""
        dice = random.Random(1)  # noqa: S311, as above
        base = {name: dice.uniform(0.05, 0.6) for name in ATTRIBUTES}
        for number in range(365):
            day = until - timedelta(days=364 - number)
            drifted = 290 <= number < 325
            for batch in range(batches if day.weekday() < 5 else 1):
                rows = int(400 + 120 * math.sin(number / 20) + dice.randint(-80, 80))
                means = {
                    name: min(
                        max(value + dice.gauss(0, 0.01) + (0.15 if drifted and index % 6 == 0 else 0), 0), 1
                    )
                    for index, (name, value) in enumerate(base.items())
                }
                bad = {"not a JPEG": dice.randint(1, 3)} if dice.random() < 0.08 else {}
                if drifted and dice.random() < 0.2:
                    bad["160x160 pixels, not 178x218"] = dice.randint(2, 9)
                self.batch(
                    day,
                    f"batch-{number:03}-{batch}",
                    rows,
                    quarantined=bad,
                    release="c" * 40,
                    model_sha256="d" * 64,
                    attributes={
                        name: {"mean_score": round(mean, 6), "positive": round(mean * 0.9, 6)}
                        for name, mean in means.items()
                    },
                )
        for week in range(52):
            at = datetime(until.year, until.month, until.day, tzinfo=UTC) - timedelta(days=7 * (51 - week))
            drifted = 41 <= week < 46
            accuracy = 0.962 - (0.12 if drifted else 0) + dice.gauss(0, 0.002)
            moved = {f"{ATTRIBUTES[index]}_score": column(0.3 - index / 100) for index in (0, 6, 12, 18)}
            line = check_line(at, f"monitoring/scheduled__{at:%Y-%m-%dT%H%M%S}Z", self.environment)
            line["drift"] |= {"drifted": drifted, "rows": 9000 + week, "columns": moved if drifted else {}}
            if week % 5:
                line["performance"] = performance(accuracy)
            if drifted:
                line |= {
                    "decision": "retrain" if week == 41 else "skip",
                    "reasons": [
                        "Drift: 4 of 43 columns moved in 9,041 images, most of all 5_o_Clock_Shadow_score",
                        "Accuracy 84.20% on 640 late labels is too low: the limit is 85.00%",
                    ],
                    "triggered": f"monitoring__{line['run_id']}" if week == 41 else None,
                }
            self.check(at, **line)
        return self


def merged(line: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line with other values in it, those of `drift` and `performance` one by one."""
    parts = {
        key: line[key] | more[key] for key in ("drift", "performance") if isinstance(more.get(key), dict)
    }
    return line | dict(more) | parts


def column(distance: float, mean: float = 0.4) -> dict[str, Any]:
    return {
        "drifted": distance >= 0.1,
        "p_value": 0.5,
        "p_value_threshold": 0.001,
        "distance": distance,
        "distance_threshold": 0.1,
        "mean": mean,
        "reference_mean": 0.38,
    }


def performance(accuracy: float | None) -> dict[str, Any]:
    """Return what a line says of performance; None is not enough labels."""
    return {
        "images": 3 if accuracy is None else 640,
        "minimum": 100,
        "enough_labels": accuracy is not None,
        "threshold": 0.85,
        "below_threshold": None if accuracy is None else accuracy + 0.01 < 0.85,
        "mean_accuracy": accuracy,
        "mean_accuracy_low": accuracy and accuracy - 0.01,
        "mean_accuracy_high": accuracy and accuracy + 0.01,
    }


def labels(accuracy: float) -> dict[str, Any]:
    """Return what late labels say of attributes and slices, as the evidence of a check has it."""
    dice = random.Random(3)  # noqa: S311, as above

    def figures(width: float) -> dict[str, float]:
        value = min(round(accuracy + dice.uniform(-0.08, 0.04), 4), 1)
        return {"accuracy": value, "accuracy_low": value - width, "accuracy_high": min(value + width, 1)}

    few = {"by": "Male", "count": 4, "accuracy": None, "accuracy_low": None, "accuracy_high": None}
    return {
        "per_attribute": {
            one: figures(0.03) | {"positives": round(dice.uniform(0.03, 0.6), 4)} for one in ATTRIBUTES
        },
        "slices": {one: figures(0.02) | {"by": "x", "count": dice.randint(40, 300)} for one in SLICES}
        | {"a_handful": few},
    }


def check_line(at: datetime, evidence: str, environment: str = "staging") -> dict[str, Any]:
    """Return a line of the record, as monitoring writes one where all is well."""
    drift: Mapping[str, Any] = {
        "since": f"{at.date() - timedelta(days=7)}",
        "until": f"{at.date() - timedelta(days=1)}",
        "files": 7,
        "rows": 2000,
        "rows_used": 2000,
        "reference_rows": 2000,
        "minimum": 100,
        "enough_data": True,
        "drifted": False,
        "columns": {},
    }
    return {
        "run_id": f"scheduled__{at.isoformat()}",
        "at": at.isoformat(),
        "environment": environment,
        "release": "c" * 40,
        "model_sha256": "d" * 64,
        "decision": "skip",
        "reasons": ["No drift in 2000 images"],
        "triggered": None,
        "profile": "full",
        "drift": dict(drift),
        "performance": performance(None),
        "evidence": evidence,
    }
