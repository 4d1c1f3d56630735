"""Notices from tasks and runs: the facts of each, which `gitops.notices` sends."""

from collections.abc import Mapping
from typing import Any

from gitops import runbooks
from gitops.notices import run_link, send_notice
from visage_dags import inputs


def notify(subject: str, body: str) -> None:
    """Tell people something, from within a task."""
    from airflow.sdk import get_current_context

    context = get_current_context()
    send_notice(subject, body, _facts_of_task(context))


def on_failure_callback(context: Mapping[str, Any]) -> None:
    """Tell people that a task has failed for good; Airflow calls this after the last attempt."""
    error = context.get("exception")
    reason = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error or "")
    facts = _with_runbook(_facts_of_task(context))
    send_notice(f"{context['ti'].task_id} failed", reason or "The task ended without a word.", facts)


def on_failed_run_callback(context: Mapping[str, Any]) -> None:
    """Tell people that a run has failed; a DAG processor calls this.

    A task that was killed, as for want of memory, cannot tell: without this nobody would hear of it.
    """
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    facts = _with_runbook({**_facts(dag_id, run_id, None), "link": run_link(dag_id, run_id)})
    send_notice("the run failed", f"Airflow says: {context.get('reason')}", facts)


def way_back(environment: str, origin: str) -> str:
    """Return the commands that take an environment back to the release before, with a line that says so.

    Args:
        environment: The environment.
        origin: The URL of the git repository that its releases come from.

    """
    from gitops import instructions
    from gitops.release import PREVIOUS

    if environment not in PREVIOUS:
        return f"{environment} follows main. Its page Visage has the commands that revert the change there."
    commands = instructions.roll_back(environment, instructions.meeting(origin))
    return f"To go back, in a checkout after make setup:\n\n{instructions.text(commands)}\n"


def _facts_of_task(context: Mapping[str, Any]) -> dict[str, str]:
    task = context["ti"]
    index = getattr(task, "map_index", -1)
    bundle = getattr(task, "bundle_instance", None)
    return {
        **_facts(task.dag_id, task.run_id, bundle.version if bundle else None),
        "task": task.task_id if index is None or index < 0 else f"{task.task_id}[{index}]",
        "log": task.log_url,
    }


def _facts(dag_id: str, run_id: str, release: str | None) -> dict[str, str]:
    from visage_dags import place

    return {
        "environment": place.environment(),
        "release": release or place.checkout_release(),
        "DAG": dag_id,
        "run": run_id,
    }


def _with_runbook(facts: Mapping[str, str]) -> dict[str, str]:
    import logging

    from airflow.sdk.exceptions import AirflowException

    from visage_dags import place

    try:
        origin = place.origin().url
    except (AirflowException, ValueError) as error:
        # That it is missing or makes no sense may be the very trouble that is told of.
        logging.getLogger(__name__).warning("No address by %s: %s", inputs.GIT.name, error)
        origin = ""
    page = runbooks.link(facts["DAG"], origin, facts["release"], place.RELEASE_ROOT)
    return {**facts, "what to do": page}
