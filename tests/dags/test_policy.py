"""What holds for every DAG of the house, and what the guide promises of each."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "cv2",
    "dvc",
    "evidently",
    "face_attributes",
    "hyperopt",
    "onnxruntime",
    "pandas",
    "sklearn",
    "torch",
}

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
                    "upstream": sorted(task.upstream_task_ids),
                }
                for task in dag.tasks
            },
            "tags": sorted(dag.tags),
            "doc": dag.doc_md,
            "description": dag.description,
            "catchup": dag.catchup,
            "max_active_runs": dag.max_active_runs,
            "schedule": str(dag.schedule),
            "paused": dag.is_paused_upon_creation,
        }
        for dag in bag.dags.values()
    },
}))
"""


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a DAG processor sees in dags/."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    variables |= {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "ACTIVE_DAGS": "score_faces,verify_release",
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


def test_all_dags_load(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert set(parsed["dags"]) == {"ml_pipeline_face_attributes", "score_faces", "verify_release"}


def test_parsing_imports_nothing_heavy(parsed: dict[str, Any]) -> None:
    assert not HEAVY & set(parsed["modules"])


def test_every_dag_says_what_it_is_and_runs_once_at_a_time(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        assert dag["doc"].strip().startswith("# "), dag_id
        assert dag["description"], dag_id
        assert "visage" in dag["tags"], dag_id
        assert dag["catchup"] is False, dag_id
        assert dag["max_active_runs"] == 1, dag_id


def test_every_task_has_an_owner_retries_and_a_timeout(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"].values():
        for name, task in dag["tasks"].items():
            assert task["owner"] == "mlops-team", name
            assert task["retries"] >= 1, name
            assert 0 < task["timeout"] <= timedelta(hours=6).total_seconds(), name


def test_the_settings_say_which_dags_start_by_themselves(parsed: dict[str, Any]) -> None:
    assert {dag_id: dag["paused"] for dag_id, dag in parsed["dags"].items()} == {
        "ml_pipeline_face_attributes": True,
        "score_faces": False,
        "verify_release": False,
    }


def test_the_training_pipeline_is_the_guides(parsed: dict[str, Any]) -> None:
    pipeline = parsed["dags"]["ml_pipeline_face_attributes"]
    assert pipeline["schedule"] == "@daily"
    order = [
        "check_environment",
        "check_raw_data",
        "data_preparation.collect",
        "data_preparation.prepare",
        "hyperparameter_optimization.tune",
        "model_training.train",
        "model_training.export",
        "model_evaluation.evaluate",
        "model_evaluation.reference",
        "propose_candidate",
        "notify_success",
    ]
    assert list(pipeline["tasks"]) == order
    for before, after in pairwise(order):
        assert before in pipeline["tasks"][after]["upstream"], f"{after} must wait for {before}"
