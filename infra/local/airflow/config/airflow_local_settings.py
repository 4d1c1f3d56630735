"""Settings that Airflow reads at its start: the alert of its web interface, host name, sizes of tasks."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.api_fastapi.common.types import UIAlert

from gitops import isolation
from gitops.airflow import sizes
from gitops.errors import ReleaseError
from gitops.release import serving
from gitops.text import markdown

# Every process of Airflow loads this file, in every engine. From then on, no task can read its secrets.
isolation.hide()

ENVIRONMENT = os.environ["VISAGE_ENVIRONMENT"]
_LONGEST = 500
_HELP = "Help: [runbook](/visage/runbooks/verify_release/)"
BUNDLE = Path(os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"]) / "release"


def hostname() -> str:
    """Return a constant host name. All processes are on this machine, and name servers can take seconds."""
    return "localhost"


def task_policy(task: Any) -> None:
    """Give a task the queue and the timeout that the settings set for it."""
    sizes.apply(task)


def alert() -> UIAlert:
    """Return the running release, why a declared release was refused, and a command to train if needed."""
    try:
        served = serving.read(BUNDLE)
    except ReleaseError as error:
        return UIAlert(text=f"**{ENVIRONMENT}**: {_plain(error)}", category="error")
    if served is None:
        return UIAlert(text=f"**{ENVIRONMENT}** has no release yet", category="info")
    runs = f"runs release `{served.commit[:12]}`" if served.commit else "has no release yet"
    if served.refused:
        keeps = f"keeps running release `{served.commit[:12]}`" if served.commit else runs
        wanted = f"`{served.declared[:12]}`" if served.declared else "the declared release"
        text = f"**{ENVIRONMENT}** {keeps}; {wanted} is refused: {_plain(served.refused)}. {_HELP}"
        return UIAlert(text=text, category="error")
    if served.model_notice:
        notice, command = _plain(served.model_notice), markdown.code(served.next_command, longest=_LONGEST)
        text = f"**{ENVIRONMENT}** {runs}: {notice}. Next: {command}"
        return UIAlert(text=text, category="warning")
    return UIAlert(text=f"**{ENVIRONMENT}** {runs}", category="info")


def _plain(text: object) -> str:
    """Return text without Markdown: it quotes files that others wrote, and a picture would be fetched."""
    return markdown.plain(text, longest=_LONGEST)


class Alerts(list[UIAlert]):
    """A list that is computed again each time the web interface reads it."""

    def __iter__(self) -> Iterator[UIAlert]:
        yield alert()


DASHBOARD_UIALERTS = Alerts()
