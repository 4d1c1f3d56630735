"""Sizes of tasks: TASK_SIZES of the settings, for each engine.

Airflow calls `apply` for each task of each DAG that it reads, so queue and timeout hold in every engine.
CPU, memory, disk and GPUs need an engine that gives them out. Kubernetes does: its executor calls
`pod_override`.
"""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gitops.release.settings import Settings, TaskSize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubernetes.client import models

GPU = "nvidia.com/gpu"
GPU_IMAGE = "VISAGE_GPU_IMAGE"
"""The variable that names the image for tasks with a GPU."""


def size_of(task_id: str) -> TaskSize | None:
    """Return the size of a task, by its id without the groups that it is in."""
    return Settings.from_environ().task_sizes.get(task_id.rpartition(".")[2])


def apply(task: Any) -> None:
    """Give a task of a DAG its queue and its timeout."""
    size = size_of(task.task_id)
    if size is None:
        return
    timeout = timedelta(hours=size.hours) if size.hours else None
    for name, value in (("queue", size.queue), ("execution_timeout", timeout)):
        if value is None:
            continue
        if task.is_mapped:
            task.partial_kwargs[name] = value
        else:
            setattr(task, name, value)


def pod_override(task_id: str, tolerations: "Sequence[models.V1Toleration]" = ()) -> "models.V1Pod | None":
    """Return the part of a task's pod that its size decides, or None if the template decides it all.

    Args:
        task_id: The id of the task.
        tolerations: Those of the template, which a pod with a GPU keeps.

    """
    # It takes a moment, and only the scheduler needs it.
    from kubernetes.client import models

    size = size_of(task_id)
    if size is None:
        return None
    amounts = {
        "cpu": None if size.cpu is None else f"{size.cpu:g}",
        "memory": size.memory,
        "ephemeral-storage": size.disk,
        GPU: str(size.gpu) if size.gpu else None,
    }
    given = {name: amount for name, amount in amounts.items() if amount}
    if not given:
        return None
    image = os.environ.get(GPU_IMAGE) if size.gpu else None
    tolerated = models.V1Toleration(key=GPU, operator="Exists", effect="NoSchedule")
    container = models.V1Container(
        name="base", image=image, resources=models.V1ResourceRequirements(limits=given, requests=given)
    )
    both = [*tolerations, tolerated] if size.gpu else None
    return models.V1Pod(spec=models.V1PodSpec(containers=[container], tolerations=both))
