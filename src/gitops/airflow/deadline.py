"""When a run is due: counted from when it was first queued.

Airflow's own reference for that, `DAGRUN_QUEUED_AT`, starts again when a task of the run is cleared, which
ends in HTTP 500 in Airflow 3.3 (apache/airflow#70368): no task of a failed run could be cleared. This one is
left alone then. Airflow finds it through the plugin in `gitops.airflow.plugin`.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class FirstQueued(BaseDeadlineReference):
    """When a run was first queued."""

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: "Session", dag_id: str, run_id: str, **_: Any) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        return session.scalar(
            select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        )


class EarlierFirstQueued(FirstQueued):
    """The same, under the name that Airflow stored with releases from before `gitops.tasks`."""

    __module__ = "gitops.deadline"


EarlierFirstQueued.__qualname__ = EarlierFirstQueued.__name__ = FirstQueued.__name__
