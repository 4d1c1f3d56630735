"""The Airflow plugin of `gitops`: found through the entry point `airflow.plugins` where it is installed."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from gitops.airflow.deadline import EarlierFirstQueued, FirstQueued


class DeadlinePlugin(AirflowPlugin):
    """Lets Airflow read the deadlines of the DAGs."""

    name = "visage_deadlines"
    deadline_references: ClassVar[list[Any]] = [FirstQueued, EarlierFirstQueued]
