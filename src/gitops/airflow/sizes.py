"""Sizes of tasks: TASK_SIZES of the settings, for each engine.

Airflow calls `apply` for each task of each DAG that it reads, so queue and timeout hold in every engine.
CPU, memory, disk and GPUs need an engine that gives them out. Kubernetes does: its executor calls
`pod_override`.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gitops.release.settings import Settings, TaskSize

GPU = "nvidia.com/gpu"
GPU_IMAGE = "VISAGE_GPU_IMAGE"
"""The variable that names the image for tasks with a GPU."""


def table() -> dict[str, TaskSize]:
    """Return the sizes of the environment's settings.

    Raises:
        SettingsError: The table has a size that cannot be.

    """
    return Settings.from_environ().task_sizes


def size_of(task_id: str) -> TaskSize | None:
    """Return the size of a task, by its id without the groups that it is in."""
    return table().get(task_id.rpartition(".")[2])


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


def pod_override(task_id: str, template: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the part of a task's pod that its size decides, or None if the template decides it all.

    Args:
        task_id: The id of the task.
        template: The pod that it changes. The provider replaces resources and tolerations as a whole, so the
            part has those of the template, too.

    """
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
    spec = template["spec"]
    before = spec["containers"][0].get("resources", {})
    resources = {part: {**before.get(part, {}), **given} for part in ("limits", "requests")}
    container: dict[str, Any] = {"name": "base", "resources": resources}
    override: dict[str, Any] = {"containers": [container]}
    if size.gpu:
        tolerated = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
        override["tolerations"] = [*spec.get("tolerations", []), tolerated]
        if image := os.environ.get(GPU_IMAGE):
            container["image"] = image
    return {"spec": override}
