"""How every DAG behaves: owner, retries, timeouts, deadline, notices, pools, and whether it starts paused."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import AsyncCallback, DeadlineAlert

from gitops.deadline import FirstQueued
from gitops.notices import on_late_run
from visage_dags import inputs, notices

# The pools of infra/pools.json. What works in one of them never does so twice at a time; only scoring does,
# where there are several machines: batches know nothing of each other, and a run finds each of them once.
TRAINING = "training"
SCORING = "scoring"
VERIFICATION = "verification"


def house(dag_id: str, *, due: timedelta = timedelta(hours=12)) -> dict[str, Any]:
    """What every DAG of the house passes to `@dag`; a task may still set its own timeout or retries.

    ACTIVE_DAGS of the environment's settings names the DAGs that do not start paused there. People are told
    of a run that has not ended when `due` is over, counted from when it was queued.
    """
    return {
        "dag_id": dag_id,
        "start_date": datetime(2024, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": dag_id not in inputs.ACTIVE_DAGS.read(),
        "deadline": _deadline(dag_id, due),
        "on_failure_callback": notices.on_failed_run_callback,
        "default_args": {
            "owner": "mlops-team",
            "depends_on_past": False,
            "retries": inputs.TASK_RETRIES.read(),
            "retry_delay": timedelta(seconds=inputs.TASK_RETRY_SECONDS.read()),
            # The factor from one wait to the next; True would count as 1, which is no back-off.
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(minutes=10),
            "execution_timeout": timedelta(minutes=15),
            "on_failure_callback": notices.on_failure_callback,
        },
    }


def _deadline(dag_id: str, due: timedelta) -> DeadlineAlert | None:
    # `airflow dags test` fails at the end of every run that has one: apache/airflow#73428.
    if sys.argv[1:3] == ["dags", "test"]:
        return None
    return DeadlineAlert(
        name=f"{dag_id} within {due}",
        # A run that a person starts has no logical date to count from.
        reference=FirstQueued(),
        interval=due,
        # In the triggerer, which every engine has: not every executor runs callbacks, and a scheduler whose
        # executor does not ends at the first late run (apache/airflow#62887).
        callback=AsyncCallback(on_late_run),
    )
