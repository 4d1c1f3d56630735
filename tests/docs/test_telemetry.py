"""An Airflow with the settings of the page sends its metrics and traces."""

import os
import sys
from pathlib import Path

import pytest
from werkzeug import Request, Response

from tests.docs.pages import Page
from tests.docs.test_settings import lines
from tests.support.command import captured
from tests.support.http import serving

DAG = """
from airflow.sdk import dag, task


@dag(schedule=None)
def count():
    @task
    def one():
        return 1

    one()


count()
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_airflow_with_the_settings_of_the_page_sends_metrics_and_traces(tmp_path: Path) -> None:
    sent: list[tuple[str, bytes]] = []

    def collect(request: Request) -> Response:
        sent.append((request.path, request.get_data()))
        return Response()

    def run(*command: str) -> None:
        done = captured([sys.executable, "-m", "airflow", *command], cwd=tmp_path, env=variables, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]

    (tmp_path / "dags").mkdir()
    (tmp_path / "dags/count.py").write_text(DAG)
    shown = [line.partition("=") for line in lines(Page(Path("docs/airflow-settings.md"))) if "OTEL_" in line]
    with serving(collect) as collector:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        variables |= {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        variables |= {key: value for key, _, value in shown} | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
        run("db", "migrate")
        run("dags", "test", "count")
    assert {path for path, _ in sent} == {"/v1/metrics", "/v1/traces"}
    for path, content in (
        ("/v1/metrics", b"airflow.task.duration"),
        ("/v1/traces", b"airflow.dag_run.run_id"),
    ):
        assert any(content in body for where, body in sent if where == path), path
