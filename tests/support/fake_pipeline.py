"""An HTTP server that answers like an Airflow whose one DAG goes on at every look."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from pydantic import SecretStr
from werkzeug import Request

from gitops.airflow.client import Access
from infra.local.training import DAG
from tests.support.http import JsonServer

LATER = "2026-01-01T00:00:09Z"


class FakePipeline(JsonServer):
    """`states` are the states that a run passes through, one at each look; `tasks` the tasks in the end."""

    def __init__(self, dag: str = DAG) -> None:
        self.dag = dag
        self.paused = True
        self.states: list[str] = ["running", "success"]
        self.runs: dict[str, list[str]] = {}
        self.tasks: list[dict[str, Any]] = []
        self.schedule_adds: str | None = None
        self.known = True
        self.import_errors: dict[str, str] = {}
        self.asked: list[str] = []
        self.confs: dict[str, dict[str, Any]] = {}
        self.notes: dict[str, str] = {}
        self.results: dict[str, str] = {}
        """What check_environment has handed on, by run."""
        self.log: list[dict[str, Any]] = []
        self.at_end: Callable[[], object] = lambda: None
        self.at_first_look: Callable[[], object] = lambda: None
        super().__init__()
        self.access = Access(url=self.url, username="airflow", password=SecretStr("airflow"))

    def answer(self, request: Request) -> tuple[int, Any]:
        data = request.get_json(force=True) if request.content_length else None
        return 200, self._answer(request.method, request.path, data)

    def _answer(self, method: str, path: str, data: Any) -> Any:
        if path == "/auth/token":
            return {"access_token": "token"}
        if path == "/api/v2/dags":
            dag = {"dag_id": self.dag, "bundle_name": "release", "is_stale": False, "is_paused": self.paused}
            return {"dags": [dag] if self.known else [], "total_entries": int(self.known)}
        if path == "/api/v2/importErrors":
            return {
                "import_errors": [
                    {"filename": name, "stack_trace": trace} for name, trace in self.import_errors.items()
                ]
            }
        if method != "GET":
            self.asked.append(f"{method} {unquote(path).removeprefix('/api/v2/dags/')} {json.dumps(data)}")
        if path == f"/api/v2/dags/{self.dag}":
            self.paused = data["is_paused"]
            if not self.paused and self.schedule_adds:
                self.runs[self.schedule_adds] = list(self.states)
                self.schedule_adds = None
            return {}
        runs = f"/api/v2/dags/{self.dag}/dagRuns"
        if path == runs and method == "POST":
            name = f"manual__{len(self.runs)}+00:00"
            self.runs[name] = list(self.states)
            self.confs[name] = data["conf"]
            return {"dag_run_id": name}
        if path == runs:
            found = {"dag_runs": [self._run(name) for name in reversed(self.runs)]}
            act, self.at_first_look = self.at_first_look, lambda: None
            act()
            return found
        if "/logs/" in path:
            return {"content": self.log}
        if "/xcomEntries" in path:
            base = self.results.get(unquote(path.removeprefix(f"{runs}/").partition("/")[0]))
            return {"xcom_entries": [{}] if base else [], "value": base}
        name = unquote(path.removeprefix(f"{runs}/").removesuffix("/taskInstances"))
        if method == "PATCH" and "note" in data:
            self.notes[name] = data["note"]
            return self._run(name)
        if method == "PATCH" and data.get("state") == "success":
            self.runs[name] = ["success"]
            return self._run(name)
        if path.endswith("/taskInstances"):
            return {"task_instances": self.tasks}
        if method == "DELETE":
            del self.runs[name]
            return None
        if method == "GET" and len(self.runs[name]) > 1:
            self.runs[name].pop(0)
            if len(self.runs[name]) == 1:
                self.at_end()
        return self._run(name)

    def _run(self, name: str) -> dict[str, Any]:
        return {
            "dag_run_id": name,
            "state": self.runs[name][0],
            "run_after": LATER,
            "conf": self.confs.get(name, {}),
            "note": self.notes.get(name),
        }


def task(name: str, state: str | None, *, attempt: int = 1, seconds: float | None = None) -> dict[str, Any]:
    """A task instance as Airflow describes it."""
    return {
        "task_id": name,
        "map_index": -1,
        "state": state,
        "try_number": attempt,
        "duration": seconds,
        "start_date": LATER if state else None,
        "end_date": LATER if seconds is not None else None,
    }
