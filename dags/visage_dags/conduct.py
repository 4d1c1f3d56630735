"""How every DAG behaves: owner, retries, timeouts, and whether it starts paused."""

import os
from datetime import UTC, datetime, timedelta

START_DATE = datetime(2024, 1, 1, tzinfo=UTC)

DEFAULT_ARGS = {
    "owner": "mlops-team",
    "depends_on_past": False,
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(minutes=15),
}


def starts_paused(dag_id: str) -> bool:
    """Whether the DAG starts paused here: ACTIVE_DAGS of the settings names those that do not."""
    return dag_id not in os.environ.get("ACTIVE_DAGS", "").split(",")
