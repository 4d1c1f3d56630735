"""The facts that every record in the log of a task carries: environment, DAG run and release."""

from pathlib import Path
from typing import Any

from airflow.listeners import hookimpl
from structlog.contextvars import bind_contextvars

from gitops.airflow import task_context


@hookimpl
def on_task_instance_running(task_instance: Any) -> None:
    """Airflow calls this in the process of a task, before its code runs."""
    bind_contextvars(
        environment=task_context.environment(),
        dag_run=task_instance.run_id,
        release=task_context.release_of(task_instance, Path(task_instance.task.dag.fileloc)),
    )
