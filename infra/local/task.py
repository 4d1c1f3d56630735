"""The tasks of a DAG run: their states, logs and failures."""

import json
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from gitops.airflow.client import ENDED, Airflow, Run, Task
from gitops.airflow.client import readable as lines_of
from infra.local import files
from infra.local.layout import EnvironmentPaths

__all__ = ["ENDED", "Runs", "Task", "log_of", "readable"]


class Runs(Airflow):
    """An Airflow on this machine, whose logs are files."""

    def recent(self, dag: str) -> list[Run]:
        """Return the latest runs of a DAG, or an empty list if there is no such DAG (yet)."""
        known = any(listed["dag_id"] == dag for listed in self.dags())
        return self.runs(dag, limit=10) if known else []

    def duration(self, dag: str, run: str) -> float:
        """Return the seconds from the queueing of a completed run to its end."""
        details = self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{quote(run, safe='')}")
        queued, end = (datetime.fromisoformat(details[key]) for key in ("queued_at", "end_date"))
        return (end - queued).total_seconds()

    def failure(self, dag: str, run: str, paths: EnvironmentPaths) -> str:
        """Return a message with the task that made a run fail, its log file and the last lines of the log."""
        failed = next((task for task in self.tasks(dag, run) if task.state == "failed"), None)
        if failed is None:
            return f"{dag}: {run} failed, but no task failed; open the run in the web interface"
        log = log_of(paths, dag, run, failed)
        lines = "".join(f"\n    {line}" for line in readable(log, 8))
        return f"{dag}: {run} failed in {failed.name} (attempt {failed.attempt}); its log is {log}{lines}"


def log_of(paths: EnvironmentPaths, dag: str, run: str, task: Task) -> Path:
    """Return the log file of a task's latest attempt."""
    folder = paths.airflow / "logs" / f"dag_id={dag}" / f"run_id={run}" / f"task_id={task.id}"
    if task.map_index >= 0:
        folder /= f"map_index={task.map_index}"
    return folder / f"attempt={task.attempt}.log"


def readable(log: Path, count: int) -> list[str]:
    """Return the last lines of a task's log, without machine-readable fields."""
    found: list[str] = []
    for line in files.tail(log, 8 * count):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = line
        found += lines_of(entry)
    return found[-count:]
