"""A small client for the REST interface of an environment's Airflow."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import requests
from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.errors import AirflowError, ParseError
from gitops.release import condition
from gitops.release.condition import Condition
from gitops.text import record
from gitops.text.parse import is_mapping, mapping, sequence

ACCESS_FILE = Path(".visage/access.json")
BUNDLE = "release"
VERIFY = "verify_release"
SHADOW = "score_shadow"
"""The DAG of another model than that of the release, which may fail alone."""
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
"""The states in which runs and tasks stay."""


class UnreachableError(AirflowError):
    """Nothing answers at an Airflow's address, or not in time."""


class RefusedError(AirflowError):
    """An Airflow has no such page, or the account may not see it."""


class Access(BaseModel):
    """How to reach an environment's Airflow: `url` is for programs, `web` for people."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    url: str
    web: str = ""
    username: str
    password: SecretStr


def load_access(path: Path) -> dict[str, Access]:
    """Read an access file: environment -> access. A missing file means that no Airflow is known.

    Raises:
        AirflowError: for a file that cannot be read.

    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AirflowError(f"{path}: {error.strerror}") from error
    try:
        return TypeAdapter(dict[str, Access]).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise AirflowError(f"{path}: {where}: {first['msg']}; bring the environments up again") from error


@dataclass(frozen=True)
class Run:
    """A DAG run: its id, state, the commit whose DAG it runs, when it was due, parameters and note."""

    id: str
    state: str
    bundle_version: str | None
    at: datetime | None
    conf: dict[str, Any] = field(default_factory=dict)
    note: str = ""


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


class Airflow:
    """One Airflow, by its REST interface.

    Raises:
        UnreachableError: from every method, when nothing answers within `timeout` seconds; after a few
            attempts with `retry`.
        AirflowError: from every method, when Airflow refuses, with its reason.

    """

    def __init__(self, access: Access, *, timeout: float = 10, retry: bool = True) -> None:
        self._access = access
        self._base = access.url.rstrip("/")
        self._timeout = timeout
        self._attempts = 4 if retry else 1
        self._session = requests.Session()
        # The address is on this machine or in this network: a proxy for the web has no part in it.
        self._session.trust_env = False
        self._token: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def health(self) -> dict[str, str | None]:
        """Return the state of each component: `metadatabase`, `scheduler`, `triggerer`, `dag_processor`."""
        answer = self.call("GET", "/api/v2/monitor/health", login=False)
        return {name: part.get("status") for name, part in answer.items() if is_mapping(part)}

    def condition(self) -> Condition:
        """Return the condition of the environment; an empty one where an earlier runtime has no such page."""
        try:
            answer = self.call("GET", condition.PATH)
        except RefusedError:
            return Condition()
        try:
            return record.read(Condition, json.dumps(answer).encode())
        except ParseError as error:
            raise AirflowError(f"{self._base}{condition.PATH}: {error}") from error

    def dags(self) -> list[dict[str, Any]]:
        """Return all DAGs of the release as Airflow describes them."""
        dags: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", f"/api/v2/dags?limit=100&offset={len(dags)}&order_by=dag_id")
            dags += page["dags"]
            if not page["dags"] or len(dags) >= page["total_entries"]:
                return [dag for dag in dags if dag["bundle_name"] == BUNDLE and not dag["is_stale"]]

    def running(self) -> str | None:
        """Return the commit whose DAGs this Airflow has parsed last, or None where it has none."""
        dags = [dag for dag in self.dags() if dag["bundle_version"] and dag["last_parsed_time"]]
        newest = max(dags, key=lambda dag: datetime.fromisoformat(dag["last_parsed_time"]), default=None)
        return newest["bundle_version"] if newest else None

    def runs(self, dag_id: str, *, limit: int = 1) -> list[Run]:
        """Return the runs of a DAG, latest first."""
        answer = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?order_by=-run_after&limit={limit}")
        return [self._run(item) for item in answer["dag_runs"]]

    def at_work(self) -> list[tuple[str, str]]:
        """Return the DAG and the id of the runs of all DAGs that have begun and not ended; at most 50."""
        answer = self.call("GET", "/api/v2/dags/~/dagRuns?state=running&order_by=run_after&limit=50")
        return [(item["dag_id"], item["dag_run_id"]) for item in answer["dag_runs"]]

    def run(self, dag_id: str, run_id: str) -> Run:
        """Return one run of a DAG."""
        return self._run(self.call("GET", _run_path(dag_id, run_id)))

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run now and return its id."""
        now = {"logical_date": None, "conf": conf or {}}
        return self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", now)["dag_run_id"]

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """Return the tasks of a run in the order in which they started; those that did not, last."""
        answer = self.call("GET", f"{_run_path(dag_id, run_id)}/taskInstances?limit=100")
        items: list[dict[str, Any]] = answer["task_instances"]
        items.sort(key=lambda item: (item["start_date"] is None, item["start_date"] or ""))
        return [_task(item) for item in items]

    def log(self, dag_id: str, run_id: str, task: Task) -> list[str]:
        """Return the log of a task's latest attempt, without the lines that only machines read."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task.id}/logs/{task.attempt}"
        answer = self.call("GET", f"{path}?map_index={task.map_index}&full_content=true")
        return [line for entry in sequence(mapping(answer).get("content")) for line in readable(entry)]

    def result(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return the return value (XCom) of a task of a run, or None if there is no such value."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries?xcom_key={key}"
        entries = self.call("GET", path)["xcom_entries"]
        if not entries:
            return None
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.call("GET", path)["value"]

    def annotate(self, dag_id: str, run_id: str, note: str) -> None:
        """Give a run a note, which the web interface shows with it."""
        self.call("PATCH", _run_path(dag_id, run_id), {"note": note})

    def settle(self, dag_id: str, run_id: str) -> None:
        """End a run as if it had succeeded."""
        self.call("PATCH", _run_path(dag_id, run_id), {"state": "success"})

    def withdraw(self, dag_id: str, run_id: str) -> None:
        """Delete a run that is not to be."""
        self.call("PATCH", _run_path(dag_id, run_id), {"state": "failed"})
        self.call("DELETE", _run_path(dag_id, run_id))

    def pause(self, dag_id: str, paused: bool) -> None:
        """Let a DAG start by itself, or not."""
        self.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": paused})

    def unpause(self, dag_id: str) -> None:
        """Let a DAG start by itself."""
        self.pause(dag_id, False)

    def import_errors(self) -> dict[str, str]:
        """Return the import errors of DAG files: file name -> traceback."""
        answer = self.call("GET", "/api/v2/importErrors?limit=100")
        return {item["filename"]: item["stack_trace"] for item in answer["import_errors"]}

    @staticmethod
    def _run(item: dict[str, Any]) -> Run:
        at = item.get("run_after")
        return Run(
            id=item["dag_run_id"],
            state=item["state"],
            bundle_version=item.get("bundle_version"),
            at=datetime.fromisoformat(at) if at else None,
            conf=item.get("conf") or {},
            note=item.get("note") or "",
        )

    def call(self, method: str, path: str, data: Any = None, *, login: bool = True) -> Any:
        """Send one request, with a login by default, and return the JSON of the response."""
        headers: dict[str, str] = {}
        if login:
            if self._token is None:
                self._token = self._log_in()
            headers["Authorization"] = f"Bearer {self._token}"
        response = self._send(method, path, data, headers)
        if response.status_code == requests.codes.unauthorized and login:
            # The token ran out, or the server was set up again since.
            self._token = self._log_in()
            headers["Authorization"] = f"Bearer {self._token}"
            response = self._send(method, path, data, headers)
        return self._content(method, path, response)

    def _log_in(self) -> str:
        who = {"username": self._access.username, "password": self._access.password.get_secret_value()}
        answer = self._content("POST", "/auth/token", self._send("POST", "/auth/token", who, {}))
        return answer["access_token"]

    def _send(self, method: str, path: str, data: Any, headers: dict[str, str]) -> requests.Response:
        # A POST that starts a run may have arrived although its answer did not: it is sent once.
        again = self._attempts if method != "POST" or path == "/auth/token" else 1
        retrying = Retrying(
            retry=retry_if_exception_type(UnreachableError),
            stop=stop_after_attempt(again),
            wait=wait_exponential(multiplier=0.3, max=3),
            reraise=True,
        )
        return retrying(self._send_once, method, path, data, headers)

    def _send_once(self, method: str, path: str, data: Any, headers: dict[str, str]) -> requests.Response:
        try:
            response = self._session.request(
                method, self._base + path, json=data, headers=headers, timeout=self._timeout
            )
        except requests.Timeout as error:
            raise UnreachableError(
                f"{self._base}: no answer within {self._timeout:g} s; is it up?"
            ) from error
        except requests.RequestException as error:
            raise UnreachableError(f"{self._base}: nothing answers there; is it up?") from error
        if response.status_code in (502, 503, 504):
            raise UnreachableError(f"{self._base}: not ready (HTTP {response.status_code}); try again soon")
        return response

    def _content(self, method: str, path: str, response: requests.Response) -> Any:
        if response.ok:
            try:
                return response.json() if response.content else None
            except ValueError as error:
                raise AirflowError(
                    f"{self._base}{path}: the answer is not Airflow's; is this its address?"
                ) from error
        try:
            detail = json.dumps(response.json().get("detail"))
        except (ValueError, AttributeError):
            detail = response.reason
        problem = f"{method} {self._base}{path}: HTTP {response.status_code}: {detail}"
        raise (RefusedError if response.status_code in (403, 404) else AirflowError)(problem)


def readable(entry: Any) -> list[str]:
    """Return the lines of one entry of a task's log that people read."""
    if not is_mapping(entry):
        return [str(entry)]
    text = str(entry.get("event", ""))
    if text.startswith("::"):
        return []  # the fold marks of the web interface
    details = entry.get("error_detail") or ()
    return [*text.splitlines(), *(f"{part['exc_type']}: {part['exc_value']}" for part in details)]


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _task(item: dict[str, Any]) -> Task:
    seconds = item["duration"]
    if item["start_date"] and not item["end_date"]:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(item["start_date"])).total_seconds()
    return Task(item["task_id"], item["map_index"], item["state"] or "waiting", seconds, item["try_number"])
