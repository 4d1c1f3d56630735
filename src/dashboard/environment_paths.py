"""The folders that the page reads: the data folder of the environment, and the folder of its release."""

import os
from dataclasses import dataclass
from pathlib import Path

from airflow.dag_processing.bundles.base import get_bundle_storage_root_path

from dashboard.errors import DashboardError

# The name of the release's bundle in environments/<env>/settings.env
_BUNDLE = "release"


@dataclass(frozen=True)
class EnvironmentPaths:
    """The name and the folders of an environment."""

    environment: str
    home: Path
    """The data folder, VISAGE_HOME."""
    bundle: Path
    """The folder of ReleaseBundle, with `release.json` and `bare`, its copy of the repository."""

    @classmethod
    def here(cls) -> "EnvironmentPaths":
        """Return the paths of this process's environment.

        Raises:
            DashboardError: A variable is not set. The message names it.

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
