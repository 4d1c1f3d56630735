"""What Airflow reads from here at its start: the line at the top of its web interface, and its host name."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from airflow.api_fastapi.common.types import UIAlert

ENVIRONMENT = os.environ["VISAGE_ENVIRONMENT"]
SERVING = Path(os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"]) / "release/release.json"


def hostname() -> str:
    """All processes are on this machine; asking a name server for its name takes seconds on some."""
    return "localhost"


def alert() -> UIAlert:
    """Say which release runs, why it is not the declared one where it is not, and whether to train."""
    try:
        serving = json.loads(SERVING.read_text())
    except FileNotFoundError:
        return UIAlert(text=f"**{ENVIRONMENT}** has no release yet", category="info")
    commit = serving["commit"]
    runs = f"runs release `{commit[:12]}`" if commit else "has no release yet"
    if serving["refused"]:
        return UIAlert(text=f"**{ENVIRONMENT}** {runs}. Refused: {serving['refused']}", category="error")
    if notice := serving.get("model_notice"):
        text = f"**{ENVIRONMENT}** {runs}: {notice}. Next: `{serving['next_command']}`"
        return UIAlert(text=text, category="warning")
    return UIAlert(text=f"**{ENVIRONMENT}** {runs}", category="info")


class Alerts(list[UIAlert]):
    """A list that is made anew each time that the web interface asks for it."""

    def __iter__(self) -> Iterator[UIAlert]:
        yield alert()


DASHBOARD_UIALERTS = Alerts()
