"""How every DAG behaves: owner, retries, timeouts, and whether it starts paused."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

_DEFAULT_ARGS = {
    "owner": "mlops-team",
    "depends_on_past": False,
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(minutes=15),
}


def house(dag_id: str) -> dict[str, Any]:
    """What every DAG of the house passes to `@dag`; a task may still set its own timeout or retries.

    ACTIVE_DAGS of the environment's settings names the DAGs that do not start paused there.
    """
    return {
        "dag_id": dag_id,
        "start_date": datetime(2024, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": dag_id not in os.environ.get("ACTIVE_DAGS", "").split(","),
        "default_args": _DEFAULT_ARGS,
    }
