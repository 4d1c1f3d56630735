"""The Airflow plugin of `gitops`: found through the entry point `airflow.plugins` where it is installed."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from gitops.airflow import task_logs
from gitops.airflow.deadline import EarlierFirstQueued, FirstQueued


class DeadlinePlugin(AirflowPlugin):
    """Lets Airflow read the deadlines of the DAGs, and names the release in the logs of tasks."""

    name = "visage_deadlines"
    # Airflow's types lack ClassVar
    deadline_references: ClassVar[list[Any]] = [  # pyright: ignore[reportIncompatibleVariableOverride]
        FirstQueued,
        EarlierFirstQueued,
    ]
    listeners: ClassVar[list[Any]] = [  # pyright: ignore[reportIncompatibleVariableOverride]
        task_logs,
    ]
