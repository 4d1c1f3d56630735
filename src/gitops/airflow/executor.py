"""Airflow's KubernetesExecutor, with pods that Kustomize can patch, and an answer to callbacks.

The pod of a task is the PodTemplate `task` of the environment's namespace. The scheduler reads it before it
makes pods, so that a changed template needs no restart.

Airflow's own does not run such callbacks: it raises an error, which ends the scheduler, and at each start of
the scheduler again (apache/airflow#62887). DAGs of this repository have their callbacks run by the triggerer.
Releases from before that, and rows that they left in the database, ask for an executor.
"""

# The provider has no types.
# pyright: reportMissingTypeStubs=false

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import yaml
from airflow.executors import workloads
from airflow.models.callback import Callback, CallbackType
from airflow.models.trigger import Trigger
from airflow.providers.cncf.kubernetes.executors import kubernetes_executor
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.triggers.callback import CallbackTrigger
from kubernetes.config.incluster_config import SERVICE_TOKEN_FILENAME
from sqlalchemy import update

from gitops.airflow import sizes

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

TEMPLATE = "task"
"""The PodTemplate that the pods of tasks are made of."""
_FRESH = 30
_IN_VOLUME = "The log of a running task comes from the volume of logs."


class KubernetesExecutor(kubernetes_executor.KubernetesExecutor):
    """A pod for each task; a callback goes to the triggerer."""

    supports_callbacks: bool = True
    _read_at: float | None = None
    _template: Mapping[str, Any] = MappingProxyType({})

    def start(self) -> None:
        """Start, with the template of pods.

        Raises:
            ApiException: The namespace has no such template, or this process may not read it.
            SettingsError: The settings have a size that cannot be.

        """
        # Now, while the scheduler before this one goes on, and not when the first task is due.
        sizes.table()
        super().start()
        self._read_template()

    def execute_async(
        self, key: Any, command: Any, queue: str | None = None, executor_config: Any | None = None
    ) -> None:
        """Make the pod of a task from the present template, or the last one if Kubernetes does not answer."""
        if self._read_at is None or time.monotonic() - self._read_at > _FRESH:
            try:
                self._read_template()
            except Exception as error:  # the errors of the client have no common class
                log.warning("PodTemplate %s: %s; the last one that was read stays", TEMPLATE, error)
        override = sizes.pod_override(key.task_id, self._template)
        if override and not executor_config:
            generator: Any = PodGenerator
            executor_config = {"pod_override": generator.deserialize_model_dict(override)}
        parent: Any = super()
        parent.execute_async(key, command, queue=queue, executor_config=executor_config)

    def get_task_log(self, ti: Any, try_number: int) -> tuple[list[str], list[str]]:
        """Return the log of a running pod, and where it comes from.

        Where logs are in a volume, this process has no token of Kubernetes. Airflow reads the volume.
        """
        if not Path(SERVICE_TOKEN_FILENAME).exists():
            return [_IN_VOLUME], [""]
        return super().get_task_log(ti, try_number)

    def _read_template(self) -> None:
        path, namespace = str(self.kube_config.pod_template_file), self.kube_config.kube_namespace
        client: Any = self.kube_client
        found = client.read_namespaced_pod_template(TEMPLATE, namespace)
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            **client.api_client.sanitize_for_serialization(found.template),
        }
        partial = Path(f"{path}.partial")
        partial.write_text(yaml.safe_dump(pod), "utf-8")
        partial.replace(path)
        self._template = pod
        self._read_at = time.monotonic()

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
