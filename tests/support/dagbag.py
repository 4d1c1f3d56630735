"""The DAGs of folders as a DAG processor sees them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Each folder is loaded in a process forked from one that has loaded Airflow alone, so that `modules` are what
# the DAGs import.
_LOAD = """
import json, os, sys
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag

def load(folder):
    sys.path.insert(0, str(folder))
    bag = DagBag(dag_folder=folder, bundle_path=folder)
    return {
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
                "due": [late.interval.total_seconds() for late in dag.deadline or ()],
                "late": [[type(late.callback).__name__, late.callback.path] for late in dag.deadline or ()],
            }
            for dag in bag.dags.values()
        },
    }

for name in sys.argv[1:]:
    read, write = os.pipe()
    if not os.fork():
        os.close(read)
        with os.fdopen(write, "w") as pipe:
            json.dump(load(Path(name)), pipe, default=str)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        print("\\0" + pipe.read())
    os.wait()
"""


def load(*folders: Path, home: Path, **variables: str) -> list[dict[str, Any]]:
    """Return errors, modules and DAGs of each folder; `home` is an empty folder for Airflow."""
    foreign = {name for name in os.environ if name.startswith("AIRFLOW")}
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    environment |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **variables}
    environment["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] = "YES"  # macOS
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, *map(str, folders)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("\0")]
    assert len(loaded) == len(folders), done.stderr
    return loaded
