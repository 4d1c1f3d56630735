from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.listener import get_listener_manager
from structlog.contextvars import clear_contextvars, get_contextvars

from gitops.airflow import task_logs

RELEASE = "0123456789abcdef0123456789abcdef01234567"  # pragma: allowlist secret


@pytest.fixture(autouse=True)
def cleared() -> Iterator[None]:
    clear_contextvars()
    yield
    clear_contextvars()


def test_airflow_calls_it_in_every_task() -> None:
    assert task_logs in get_listener_manager().pm.get_plugins()


def test_every_record_of_a_task_carries_environment_run_and_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISAGE_ENVIRONMENT", "staging")
    dag = SimpleNamespace(fileloc=str(tmp_path / RELEASE / "dags/some_dag.py"))
    task_logs.on_task_instance_running(SimpleNamespace(run_id="manual__1", task=SimpleNamespace(dag=dag)))
    assert get_contextvars() == {"environment": "staging", "dag_run": "manual__1", "release": RELEASE}
