"""The checks of monitoring: commands of `face_attributes` that leave a verdict in a JSON file."""

import json
import logging
from datetime import date
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from gitops import tasks
from visage_dags import context


def run(check: str, days: tuple[date, date], out: Path, *options: str) -> str:
    """Run a check on the images that the release's model scored on `days`; return the path of its verdict.

    Raises:
        AirflowSkipException: when the release has no model yet.

    """
    release, home = context.release(), context.home()
    model = tasks.fetch_model(release=release)
    if not model:
        raise AirflowSkipException(f"{release[:12]}: this release has no model yet")
    reference = tasks.fetch_reference(release=release)
    scores = home / "scores"
    scores.mkdir(parents=True, exist_ok=True)
    since, until = days
    tasks.call(
        command=[
            *("python", "-m", "face_attributes", check, str(scores), "--reference", reference),
            *("--model-sha256", Path(model).stem, "--release", release),
            *("--since", since.isoformat(), "--until", until.isoformat(), "--out", str(out), *options),
        ],
        folder=str(context.CHECKOUT),
        minutes=30,
    )
    logging.getLogger(__name__).info("Verdict: %s", out)
    return str(out)


def verdict(path: str) -> dict[str, Any]:
    """Read what a check found."""
    return json.loads(Path(path).read_text("utf-8"))
