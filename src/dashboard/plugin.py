"""The Airflow plugin: found through the entry point `airflow.plugins` wherever this project is installed.

Every process of Airflow loads its plugins, so the page itself is imported by the api-server alone.
"""

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/visage"


class VisagePlugin(AirflowPlugin):
    """An entry of its own in the menu at the left, which opens the page in Airflow's frame."""

    name = "visage"

    # Relative to Airflow's base URL, which may have a path.
    external_views = [  # noqa: RUF012, Airflow's own type
        {
            "name": "Visage",
            "href": f"{PREFIX.strip('/')}/",
            "url_route": "visage",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{PREFIX.strip('/')}/static/icon.svg",
            "icon_dark_mode": f"{PREFIX.strip('/')}/static/icon-dark.svg",
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """What the api-server, and nobody else, asks for."""
        from dashboard.app import make

        return [{"app": make(), "url_prefix": PREFIX, "name": "Visage"}]
