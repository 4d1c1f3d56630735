"""Airflow's KubernetesExecutor, with an answer to callbacks that want an executor.

Airflow's own does not run such callbacks: it raises an error, which ends the scheduler, and at each start of
the scheduler again (apache/airflow#62887). DAGs of this repository have their callbacks run by the triggerer.
Releases from before that, and rows that they left in the database, ask for an executor.
"""

# The provider has no types.
# pyright: reportMissingTypeStubs=false

import logging
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from airflow.executors import workloads
from airflow.models.callback import Callback, CallbackType
from airflow.models.trigger import Trigger
from airflow.providers.cncf.kubernetes.executors import kubernetes_executor
from airflow.triggers.callback import CallbackTrigger
from sqlalchemy import update

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


class KubernetesExecutor(kubernetes_executor.KubernetesExecutor):
    """A pod for each task; a callback goes to the triggerer."""

    supports_callbacks: bool = True

    def queue_workload(self, workload: workloads.All, session: "Session | None") -> None:
        """Queue a task, or hand the callback of a missed deadline to the triggerer."""
        if isinstance(workload, workloads.ExecuteCallback):
            assert session is not None
            _hand_to_triggerer(workload, session)
        else:
            super().queue_workload(workload, session=session)


def _hand_to_triggerer(workload: workloads.ExecuteCallback, session: "Session") -> None:
    """Have the triggerer send the notice of a late run.

    The triggerer has no release checked out, so it cannot run the callback that the release names. Only
    deadlines have callbacks that ask for an executor, and their context is the one that `on_late_run` takes.
    """
    data = cast(dict[str, Any], workload.callback.data)  # pyright: ignore[reportUnknownMemberType] a dict of anything
    callback = session.get_one(Callback, UUID(workload.callback.id))
    log.warning(
        "%s asks for an executor, and no pod can run it: the triggerer sends the notice instead.",
        data.get("path"),
    )
    path = "gitops.tasks.on_late_run"
    context = data.get("kwargs", {}).get("context")
    callback.trigger = Trigger.from_object(CallbackTrigger(path, {"context": context}))
    session.flush()
    # The type decides which component runs it, and the class as which the row is read from now on.
    change = update(Callback).where(Callback.id == callback.id).values(type=CallbackType.TRIGGERER.value)
    session.execute(change, execution_options={"synchronize_session": False})
