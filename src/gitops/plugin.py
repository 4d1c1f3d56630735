"""The Airflow plugin of `gitops`: found through the entry point `airflow.plugins` where it is installed."""

from airflow.plugins_manager import AirflowPlugin

from gitops.deadline import FirstQueued


class DeadlinePlugin(AirflowPlugin):
    """Lets Airflow read the deadlines of the DAGs."""

    name = "visage_deadlines"
    deadline_references = [FirstQueued]  # noqa: RUF012, Airflow's own type
