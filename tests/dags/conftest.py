"""What a DAG processor sees in dags/; environments that run a release with a model of profile small."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.dag_smoke_test.plan import TRAINING, land_model
from infra.dag_smoke_test.sandbox import Sandbox, sandbox

ROOT = Path(__file__).resolve().parents[2]

# The DAGs that do not start paused where `parsed` looks at them.
ACTIVE = {"score_faces", "verify_release"}

# Parses the DAGs in a fresh interpreter, as a DAG processor does: what is imported there is what they import.
PARSE = """
import json, sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
from airflow.dag_processing.dagbag import DagBag

bag = DagBag(dag_folder=folder, bundle_path=folder)
print("\\n" + json.dumps({
    "errors": {str(name): error for name, error in bag.import_errors.items()},
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "dags": {
        dag.dag_id: {
            "tasks": {
                task.task_id: {
                    "owner": task.owner,
                    "retries": task.retries,
                    "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
                    "backoff": task.retry_exponential_backoff,
                    "pool": task.pool,
                    "executor": task.executor,
                    "defers": bool(getattr(task, "deferrable", False) or task.start_from_trigger),
                    "told": bool(task.on_failure_callback),
                    "upstream": sorted(task.upstream_task_ids),
                    "conf": getattr(task, "conf", None),
                }
                for task in dag.tasks
            },
            "params": {name: dag.params.get_param(name).schema for name in dag.params},
            "tags": sorted(dag.tags),
            "doc": dag.doc_md,
            "description": dag.description,
            "catchup": dag.catchup,
            "max_active_runs": dag.max_active_runs,
            "schedule": str(dag.schedule),
            "paused": dag.is_paused_upon_creation,
            "told": bool(dag.on_failure_callback),
            "due": [alert.interval.total_seconds() for alert in dag.deadline],
            "late": [[type(alert.callback).__name__, alert.callback.path] for alert in dag.deadline],
        }
        for dag in bag.dags.values()
    },
}))
"""


@dataclass(frozen=True)
class Trained:
    """The environments, the release that they run, and a folder of 32 drawn faces."""

    environments: Sandbox
    release: str
    faces: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with sandbox(ROOT, tmp_path_factory.mktemp("trained")) as made:
        ran = made.test("dev", TRAINING, conf={"profile": "small"}, seconds=600)
        assert ran.status == 0, ran.output[-3000:]
        faces = tmp_path_factory.mktemp("faces") / "drawn"
        made.run(["-m", "face_attributes", "draw", str(faces), "--count", "32", "--seed", "5"])
        yield Trained(made, land_model(made), faces / "img_align_celeba")


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a DAG processor sees in dags/."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    variables |= {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "ACTIVE_DAGS": ",".join(sorted(ACTIVE)),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(ROOT / "dags")],
        env=variables,
        cwd=tmp_path_factory.mktemp("cwd"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
