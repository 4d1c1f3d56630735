"""Lineage: the data that a task reads and writes, as OpenLineage events that Airflow's provider sends."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openlineage.client.event_v2 import Dataset

NAMESPACE = "visage"
"""The namespace of data that DVC tracks: its name is a path in the repository, its version a digest."""


def report(inputs: Mapping[str, str], outputs: Mapping[str, str], namespace: str = NAMESPACE) -> None:
    """Send the data of the present task. The provider logs a failure as a warning, and the task goes on.

    Args:
        inputs: The digest of each input, by its name; "" for one without a digest.
        outputs: The same of each output.
        namespace: The namespace of their names.

    """
    if not inputs and not outputs:
        return
    # The provider takes half a second to load, and an environment may switch it off
    from airflow.providers.openlineage.api import (  # pyright: ignore[reportMissingTypeStubs]
        emit_dataset_lineage,
    )

    emit_dataset_lineage(
        inputs=[_dataset(namespace, name, digest) for name, digest in inputs.items()],
        outputs=[_dataset(namespace, name, digest) for name, digest in outputs.items()],
    )


def _dataset(namespace: str, name: str, digest: str) -> "Dataset":
    from openlineage.client.event_v2 import Dataset
    from openlineage.client.facet_v2 import DatasetFacet, dataset_version_dataset

    facets: dict[str, DatasetFacet] = {}
    if digest:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(digest)
    return Dataset(namespace=namespace, name=name, facets=facets)
