"""Notices from tasks and runs: the facts of each. The runtime sends them."""

from collections.abc import Mapping
from typing import Any

from gitops import tasks
from visage_dags import context


def notify(subject: str, body: str) -> None:
    """Send a notice from within a task."""
    from airflow.sdk import get_current_context

    tasks.notify(subject=subject, body=body, facts=_facts_of_task(get_current_context()))


def on_failure_callback(task_context: Mapping[str, Any]) -> None:
    """Send a notice about a task that failed for good; Airflow calls this after the last attempt."""
    error = task_context.get("exception")
    reason = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error or "")
    facts = _with_runbook(_facts_of_task(task_context))
    subject = f"{task_context['ti'].task_id} failed"
    tasks.notify(subject=subject, body=reason or "The task ended without a message.", facts=facts)


def on_failed_run_callback(run_context: Mapping[str, Any]) -> None:
    """Send a notice about a run that failed; a DAG processor calls this.

    A task that was killed, for example because memory ran out, cannot send one.
    """
    dag_id, run_id = run_context["dag"].dag_id, run_context["run_id"]
    link = tasks.run_link(dag_id=dag_id, run_id=run_id)
    facts = _with_runbook({**_facts(dag_id, run_id, None), "link": link})
    tasks.notify(subject="the run failed", body=f"Airflow's reason: {run_context.get('reason')}", facts=facts)


def _facts_of_task(task_context: Mapping[str, Any]) -> dict[str, str]:
    task = task_context["ti"]
    index = getattr(task, "map_index", -1)
    bundle = getattr(task, "bundle_instance", None)
    return {
        **_facts(task.dag_id, task.run_id, bundle.version if bundle else None),
        "task": task.task_id if index is None or index < 0 else f"{task.task_id}[{index}]",
        "log": task.log_url,
    }


def _facts(dag_id: str, run_id: str, release: str | None) -> dict[str, str]:
    return {
        "environment": tasks.environment(),
        "release": release or tasks.checkout_release(checkout=str(context.CHECKOUT)),
        "DAG": dag_id,
        "run": run_id,
    }


def _with_runbook(facts: Mapping[str, str]) -> dict[str, str]:
    page = tasks.runbook(name=facts["DAG"], release=facts["release"], checkout=str(context.CHECKOUT))
    return {**facts, "runbook": page}
