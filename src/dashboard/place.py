"""Where the page reads from: the environment's data folder, and the folder of its release."""

import os
from dataclasses import dataclass
from pathlib import Path

from airflow.dag_processing.bundles.base import get_bundle_storage_root_path

from dashboard.errors import DashboardError

# What environments/<env>/settings.env calls the bundle of the release.
_BUNDLE = "release"


@dataclass(frozen=True)
class Place:
    """One environment: its name and its folders."""

    environment: str
    home: Path
    """The data folder, VISAGE_HOME."""
    bundle: Path
    """What ReleaseBundle keeps: `release.json`, and its copy of the repository, `bare`."""

    @classmethod
    def here(cls) -> "Place":
        """Return the environment of this process.

        :raises DashboardError: naming the variable that is missing.
        """
        values = {}
        for name in ("VISAGE_ENVIRONMENT", "VISAGE_HOME"):
            values[name] = os.environ.get(name, "")
            if not values[name]:
                raise DashboardError(f"{name} is not set: set it for the api-server, as for the scheduler")
        return cls(
            values["VISAGE_ENVIRONMENT"],
            Path(values["VISAGE_HOME"]),
            Path(get_bundle_storage_root_path()) / _BUNDLE,
        )
