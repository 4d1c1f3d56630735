"""Lineage: events that Airflow's provider sends from tasks that really run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from infra.dag_smoke_test.sandbox import Sandbox, sandbox
from infra.local import port
from tests.support import checkout

pytestmark = pytest.mark.long

DAG = """
from airflow.sdk import dag, task
from visage_dags.dag_defaults import default_dag_args


@task
def step():
    from gitops.airflow import lineage

    lineage.report({"data/raw": "0a", "data/new": ""}, {"models/model.onnx": "0b"})


@dag(**default_dag_args("traced"), schedule=None)
def traced():
    step()


traced()
"""
TOKEN = "a" * 20 + "-token"


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    source = checkout.with_dags(tmp_path_factory.mktemp("source"), {"traced_dag.py": DAG})
    with sandbox(source, tmp_path_factory.mktemp("sandbox")) as made:
        yield made


def tells(events: list[dict[str, Any]]) -> None:
    """The step began, named its data, and ended, as a part of its DAG run."""
    steps = [event for event in events if event["job"]["name"] == "traced.step"]
    assert {"START", "RUNNING", "COMPLETE"} <= {event["eventType"] for event in steps}
    assert len({event["run"]["runId"] for event in steps}) == 1
    (one,) = [event for event in steps if event["inputs"]]
    found = [(data["namespace"], data["name"], data["facets"]) for data in one["inputs"] + one["outputs"]]
    assert [(space, name) for space, name, _ in found] == [
        ("visage", "data/raw"),
        ("visage", "data/new"),
        ("visage", "models/model.onnx"),
    ]
    versions = [facets.get("version", {}).get("datasetVersion") for _, _, facets in found]
    assert versions == ["0a", None, "0b"]
    assert one["run"]["facets"]["parent"]["job"]["name"] == "traced"


def test_events_are_files_by_default(environments: Sandbox, tmp_path: Path) -> None:
    extra = {
        "OPENLINEAGE__TRANSPORT__TYPE": "file",
        "OPENLINEAGE__TRANSPORT__LOG_FILE_PATH": str(tmp_path / "lineage"),
        "AIRFLOW__OPENLINEAGE__DISABLE_SOURCE_CODE": "True",
    }
    ran = environments.test("dev", "traced", extra=extra, seconds=120)
    assert ran.status == 0, ran.output[-3000:]
    files = sorted(tmp_path.glob("lineage-*"))
    events = [json.loads(path.read_text()) for path in files]
    tells(events)
    assert "lineage.report(" not in json.dumps(events)


def test_a_connection_names_a_server_and_its_token(environments: Sandbox, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/v1/lineage", method="POST").respond_with_data(status=201)
    transport = {
        "type": "http",
        "url": httpserver.url_for("/"),
        "auth": {"type": "api_key", "apiKey": TOKEN},
    }
    extra = {
        "AIRFLOW__OPENLINEAGE__CONFIG_CONN_ID": "lineage",
        "AIRFLOW_CONN_LINEAGE": json.dumps({"conn_type": "openlineage", "extra": {"transport": transport}}),
    }
    ran = environments.test("dev", "traced", extra=extra, seconds=120)
    assert ran.status == 0, ran.output[-3000:]
    tells([request.get_json() for request, _ in httpserver.log])
    assert {request.headers["Authorization"] for request, _ in httpserver.log} == {f"Bearer {TOKEN}"}
    assert TOKEN not in ran.output


def test_a_server_that_does_not_answer_stops_no_task(environments: Sandbox) -> None:
    transport = json.dumps({"type": "http", "url": f"http://127.0.0.1:{port.unused()}", "timeout": 1})
    ran = environments.test(
        "dev", "traced", extra={"AIRFLOW__OPENLINEAGE__TRANSPORT": transport}, seconds=180
    )
    assert ran.status == 0, ran.output[-3000:]
