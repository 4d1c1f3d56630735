"""What Airflow reads from here at its start: the line at the top of its web interface, and its host name."""

import os
from collections.abc import Iterator
from pathlib import Path

from airflow.api_fastapi.common.types import UIAlert

from gitops.errors import ReleaseError
from gitops.release import serving

ENVIRONMENT = os.environ["VISAGE_ENVIRONMENT"]
BUNDLE = Path(os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"]) / "release"


def hostname() -> str:
    """All processes are on this machine; asking a name server for its name takes seconds on some."""
    return "localhost"


def alert() -> UIAlert:
    """Say which release runs, why it is not the declared one where it is not, and whether to train."""
    try:
        served = serving.read(BUNDLE)
    except ReleaseError as error:
        return UIAlert(text=f"**{ENVIRONMENT}**: {error}", category="error")
    if served is None:
        return UIAlert(text=f"**{ENVIRONMENT}** has no release yet", category="info")
    runs = f"runs release `{served.commit[:12]}`" if served.commit else "has no release yet"
    if served.refused:
        return UIAlert(text=f"**{ENVIRONMENT}** {runs}. Refused: {served.refused}", category="error")
    if served.model_notice:
        text = f"**{ENVIRONMENT}** {runs}: {served.model_notice}. Next: `{served.next_command}`"
        return UIAlert(text=text, category="warning")
    return UIAlert(text=f"**{ENVIRONMENT}** {runs}", category="info")


class Alerts(list[UIAlert]):
    """A list that is made anew each time that the web interface asks for it."""

    def __iter__(self) -> Iterator[UIAlert]:
        yield alert()


DASHBOARD_UIALERTS = Alerts()
