"""Defaults of every DAG: owner, retries, timeouts, deadline, notices, pools, and whether it starts paused."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from gitops import tasks
from visage_dags import notices

# The pools of infra/pools.json. Each has one slot, so its tasks never run in parallel. Only `scoring` gets
# more slots on several machines, because batches are independent and a run finds each of them once.
TRAINING = "training"
SCORING = "scoring"
VERIFICATION = "verification"
SHADOW = "shadow"

# Airflow fills in an argument of a task that is named as a key of the context; it allows no other default.
FROM_CONTEXT: Any = None


def default_dag_args(dag_id: str, *, due: timedelta = timedelta(hours=12)) -> dict[str, Any]:
    """Return the arguments that every DAG passes to `@dag`. A task may still set its own timeout or retries.

    Args:
        dag_id: The id of the DAG. It starts paused unless ACTIVE_DAGS of the environment's settings names it.
        due: The time after which people get a notice about a run that has not ended, counted from when it
            was queued.

    """
    # `airflow dags test` fails at the end of every run that has a deadline: apache/airflow#73428.
    tested = sys.argv[1:3] == ["dags", "test"]
    return {
        "dag_id": dag_id,
        "start_date": datetime(2024, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": dag_id not in tasks.setting(name="ACTIVE_DAGS"),
        "deadline": None if tested else tasks.deadline(dag_id=dag_id, seconds=due.total_seconds()),
        "on_failure_callback": notices.on_failed_run_callback,
        "default_args": {
            "owner": "mlops-team",
            "depends_on_past": False,
            "retries": tasks.setting(name="TASK_RETRIES"),
            "retry_delay": timedelta(seconds=tasks.setting(name="TASK_RETRY_SECONDS")),
            # The factor from one wait to the next; True would count as 1, which is no back-off.
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(minutes=10),
            "execution_timeout": timedelta(minutes=15),
            "on_failure_callback": notices.on_failure_callback,
        },
    }
