"""An HTTP server that answers like Airflow's REST interface, as far as `gitops` asks it."""

import re
from typing import Any
from urllib.parse import unquote

from pydantic import SecretStr
from werkzeug import Request, Response

from gitops.airflow.client import Access
from tests.support.http import JsonServer


class FakeAirflow(JsonServer):
    def __init__(self) -> None:
        self.dags: dict[str, dict[str, Any]] = {}
        self.runs: list[dict[str, Any]] = []
        self.unhealthy: set[str] = set()
        self.logins = 0
        self.not_ready = 0
        self.nonsense = False
        self.condition: dict[str, Any] | None = None
        self._tokens: set[str] = set()
        super().__init__()
        self.access = Access(
            url=self.url, web="http://localhost:8080", username="airflow", password=SecretStr("s3cret")
        )

    def dag(
        self,
        dag_id: str,
        version: str,
        *,
        parsed: str = "2026-01-01T00:00:00Z",
        stale: bool = False,
        bundle: str = "release",
    ) -> None:
        self.dags[dag_id] = {
            "dag_id": dag_id,
            "bundle_name": bundle,
            "bundle_version": version,
            "last_parsed_time": parsed,
            "is_stale": stale,
            "is_paused": True,
        }

    def run(self, dag_id: str, state: str) -> None:
        self.runs.append(self._run(dag_id, {}) | {"state": state})

    def forget_tokens(self) -> None:
        self._tokens.clear()

    def _run(self, dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
        return {
            "dag_run_id": f"manual__{len(self.runs)}+00:00",
            "dag_id": dag_id,
            "state": "queued",
            "conf": conf,
            "bundle_version": self.dags[dag_id]["bundle_version"],
            "run_after": "2026-01-01T00:00:00Z",
        }

    def _respond(self, request: Request) -> Response:
        return Response("<html>") if self.nonsense else super()._respond(request)

    def answer(self, request: Request) -> tuple[int, Any]:
        method, path, query = request.method, request.path, request.args
        data = request.get_json(force=True) if request.content_length else None
        if self.not_ready:
            self.not_ready -= 1
            return 503, {}
        if path == "/auth/token":
            if data != {"username": "airflow", "password": "s3cret"}:
                return 401, {"detail": "Invalid credentials"}
            self.logins += 1
            self._tokens.add(f"Bearer {self.logins}")
            return 201, {"access_token": str(self.logins)}
        if path == "/api/v2/monitor/health":
            parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
            return 200, {
                part: {"status": "unhealthy" if part in self.unhealthy else "healthy"} for part in parts
            }
        if request.headers.get("Authorization") not in self._tokens:
            return 401, {"detail": "Not authenticated"}
        if path == "/api/v2/dags":
            offset, limit = int(query["offset"]), int(query["limit"])
            dags = sorted(self.dags.values(), key=lambda dag: dag["dag_id"])
            return 200, {"dags": dags[offset : offset + limit], "total_entries": len(dags)}
        if path == "/visage/condition.json":
            return (404, {"detail": "no page"}) if self.condition is None else (200, self.condition)
        if path == "/api/v2/importErrors":
            return 200, {"import_errors": [], "total_entries": 0}
        if path == "/api/v2/dags/~/dagRuns":
            found = [run for run in self.runs if run["state"] == query["state"]]
            return 200, {"dag_runs": found, "total_entries": len(found)}
        match = re.fullmatch(r"/api/v2/dags/([^/]+)(/dagRuns)?(?:/([^/]+))?", path)
        if not match or match[1] not in self.dags:
            return 404, {"detail": "no such DAG"}
        dag_id, runs, run_id = match.groups()
        if method == "PATCH":
            self.dags[dag_id].update(data)
            return 200, self.dags[dag_id]
        if method == "POST" and runs:
            self.runs.append(self._run(dag_id, data["conf"]))
            return 200, self.runs[-1]
        if run_id is None:
            found = [run for run in reversed(self.runs) if run["dag_id"] == dag_id]
            return 200, {"dag_runs": found[: int(query["limit"])], "total_entries": len(found)}
        return 200, next(run for run in self.runs if run["dag_run_id"] == unquote(run_id))
