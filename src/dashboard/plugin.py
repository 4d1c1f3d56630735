"""The Airflow plugin. Airflow finds it through the entry point `airflow.plugins`.

Every process of Airflow loads its plugins, so only the api-server imports the page itself.
"""

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/visage"


class VisagePlugin(AirflowPlugin):
    """An entry in the menu at the left that opens the page in Airflow's frame."""

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
    def fastapi_apps(  # pyright: ignore[reportIncompatibleVariableOverride] a plugin may compute it
        self,
    ) -> list[dict[str, Any]]:
        """The app of the page. Only the api-server reads this property."""
        from dashboard.app import make

        return [{"app": make(), "url_prefix": PREFIX, "name": "Visage"}]

    @property
    def fastapi_root_middlewares(  # pyright: ignore[reportIncompatibleVariableOverride] a plugin may compute it
        self,
    ) -> list[dict[str, Any]]:
        """The guard of all that the api-server answers. Only the api-server reads this property."""
        from dashboard import guard

        return [{"middleware": guard.Guard, "kwargs": guard.settings(), "name": "Visage"}]
