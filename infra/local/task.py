"""The tasks of a DAG run: how they fare, and why one failed."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gitops.airflow import Airflow, Run
from infra.local import files
from infra.local.layout import Place

ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


@dataclass(frozen=True)
class Task:
    """A task of a run, at its latest attempt."""

    id: str
    map_index: int
    state: str
    seconds: float | None
    attempt: int

    @property
    def name(self) -> str:
        return self.id if self.map_index < 0 else f"{self.id}[{self.map_index}]"


class Runs(Airflow):
    """An Airflow, with what it takes to follow the runs of the DAG `dag`."""

    def recent(self, dag: str) -> list[Run]:
        """Return the latest runs of a DAG; none where there is no such DAG (yet)."""
        known = any(found["dag_id"] == dag for found in self.dags())
        return self.runs(dag, limit=10) if known else []

    def tasks(self, dag: str, run: str) -> list[Task]:
        """Return the tasks of a run in the order in which they started; those that did not, last."""
        items = self.call("GET", f"{_path(dag, run)}/taskInstances?limit=100")["task_instances"]
        items.sort(key=lambda item: (item["start_date"] is None, item["start_date"] or ""))
        return [_task(item) for item in items]

    def duration(self, dag: str, run: str) -> float:
        """Return the seconds from when a run that has ended was queued to its end."""
        said = self.call("GET", _path(dag, run))
        queued, end = (datetime.fromisoformat(said[key]) for key in ("queued_at", "end_date"))
        return (end - queued).total_seconds()

    def withdraw(self, dag: str, run: str) -> None:
        """Delete a run that is not to be."""
        self.call("PATCH", _path(dag, run), {"state": "failed"})
        self.call("DELETE", _path(dag, run))

    def settle(self, dag: str, run: str) -> None:
        """End a run as if it had succeeded."""
        self.call("PATCH", _path(dag, run), {"state": "success"})

    def failure(self, dag: str, run: str, place: Place) -> str:
        """Say which task made a run fail, where its log is, and the log's last lines."""
        failed = next((task for task in self.tasks(dag, run) if task.state == "failed"), None)
        if failed is None:
            return f"{dag}: {run} failed, though none of its tasks did; look at it in the web interface"
        log = log_of(place, dag, run, failed)
        lines = "".join(f"\n    {line}" for line in readable(log, 8))
        return f"{dag}: {run} failed in {failed.name} (attempt {failed.attempt}); its log is {log}{lines}"


def log_of(place: Place, dag: str, run: str, task: Task) -> Path:
    """Return the log file of a task's latest attempt."""
    folder = place.airflow / "logs" / f"dag_id={dag}" / f"run_id={run}" / f"task_id={task.id}"
    if task.map_index >= 0:
        folder /= f"map_index={task.map_index}"
    return folder / f"attempt={task.attempt}.log"


def readable(log: Path, count: int) -> list[str]:
    """Return the last lines of a task's log without what only machines read."""
    found: list[str] = []
    for line in files.tail(log, 8 * count):
        try:
            entry = json.loads(line)
        except ValueError:
            found.append(line)
            continue
        text = str(entry.get("event", ""))
        if text.startswith("::"):
            continue  # the fold marks of the web interface
        found += text.splitlines()
        found += [f"{part['exc_type']}: {part['exc_value']}" for part in entry.get("error_detail") or ()]
    return found[-count:]


def _path(dag: str, run: str) -> str:
    return f"/api/v2/dags/{dag}/dagRuns/{quote(run, safe='')}"


def _task(item: dict[str, Any]) -> Task:
    seconds = item["duration"]
    if item["start_date"] and not item["end_date"]:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(item["start_date"])).total_seconds()
    return Task(item["task_id"], item["map_index"], item["state"] or "waiting", seconds, item["try_number"])
