"""Write `schemas/`: the JSON Schema of each file that one part writes and another reads, or that people edit.

`make schemas` runs it, after a change of one of the classes below. A test compares the files with them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dashboard.daily_stats import Batch
from dashboard.processes import Starts
from face_attributes import params
from face_attributes.contract.limits import Contract
from gitops.gates.comparison import Comparison
from gitops.gates.shadows import Figures, Shadowed
from gitops.model.card import Card
from gitops.model.cost import Cost
from gitops.model.data import Data
from gitops.model.decisions import Decisions
from gitops.model.drift_comparison import DriftComparison
from gitops.model.evaluation import Evaluation, Export
from gitops.model.groups import Groups
from gitops.model.metrics import Performance, Training
from gitops.people.retention import Line as RetentionLine
from gitops.release.approvals import Approval
from gitops.release.calendar import CalendarFile
from gitops.release.condition import Condition
from gitops.release.contract import Runtime
from gitops.release.environments import EnvironmentFile
from gitops.release.file import Release
from gitops.release.forgotten import Forgotten
from gitops.release.health import Health
from gitops.release.licences import Licences
from gitops.release.serving import Serving
from gitops.release.verdicts import Verdict
from gitops.training.experiments import Experiments
from visage_dags import records

RECORDS: dict[str, tuple[str, type[BaseModel]]] = {
    "approval": ("the message of a tag approved/<environment>/<commit>/<who>", Approval),
    "batch": ("scores/date=<day>/<batch>.json", Batch),
    "calendar": ("environments/calendar.yaml", CalendarFile),
    "card": ("metrics/card.json", Card),
    "comparison": ("the output of face_attributes compare", Comparison),
    "condition": ("/visage/condition.json of an Airflow", Condition),
    "contract": ("data/contract.yaml", Contract),
    "cost": ("the trailer Cost of a step's commit", Cost),
    "data": ("metrics/data.json", Data),
    "decision": ("a line of monitoring/decisions.jsonl", records.Line),
    "decisions": ("metrics/decisions.json", Decisions),
    "drift": ("monitoring/<run>/drift.json", records.Drift),
    "drifted": ("metrics/drifted.json", DriftComparison),
    "environment": ("environments/<name>/environment.yaml", EnvironmentFile),
    "evaluation": ("metrics/evaluation.json", Evaluation),
    "experiments": ("experiments.yaml", Experiments),
    "export": ("metrics/export.json", Export),
    "forgotten": ("data/forgotten.json", Forgotten),
    "groups": ("metrics/groups.json", Groups),
    "health": ("health.json of the bundle", Health),
    "late_labels": ("monitoring/<run>/performance.json", records.Performance),
    "licences": ("data/licences.yaml", Licences),
    "performance": ("metrics/performance.json", Performance),
    "release": ("environments/<name>/release.yaml", Release),
    "retention": ("a line of retention.jsonl", RetentionLine),
    "runtime": ("dags/runtime.yaml", Runtime),
    "serving": ("release.json of the bundle", Serving),
    "shadow": ("the output of face_attributes shadow", Figures),
    "shadowed": ("the message of a tag shadowed/<environment>/<commit>", Shadowed),
    "starts": (".visage/processes/<program>.starts", Starts),
    "training": ("metrics/training.json", Training),
    "verdict": ("the message of a tag verified/<environment>/<commit>", Verdict),
}
"""Each schema: the file that it describes, and the class that reads it."""

ROOT = Path(__file__).resolve().parents[1]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
LEFT_OUT = ("required", "x-by-source", "x-rules")


def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the content of each file in `schemas/`."""
    for name, (file, kind) in RECORDS.items():
        schema = params.without_titles(kind.model_json_schema())
        yield f"{name}.schema.json", {"$schema": DIALECT, "title": file, **schema}
    yield "params.schema.json", params.schema()
    yield "params.editor.schema.json", for_editors(params.schema())


def for_editors(schema: Any) -> Any:
    """Return the schema of the parameters for editors, which read neither `x-by-source` nor overlays' rules.

    Any value may be a map by source, and no key is required, since an overlay holds only some.
    """
    if isinstance(schema, list):
        return [for_editors(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: for_editors(item) for key, item in schema.items() if key not in LEFT_OUT}
    for name, value in kept.get("properties", {}).items():
        sources = dict.fromkeys(params.SOURCES, value)
        by_source = {"type": "object", "properties": sources, "required": list(sources)}
        kept["properties"][name] = {"anyOf": [value, {**by_source, "additionalProperties": False}]}
    return kept


def main() -> None:
    """Write all of them."""
    for name, schema in schemas():
        (ROOT / "schemas" / name).write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
