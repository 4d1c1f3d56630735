"""The checks of monitoring: commands of `face_attributes` that leave a verdict in a JSON file."""

import json
import logging
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from gitops.errors import NoModelError
from gitops.model import fetch_model, fetch_reference
from gitops.step import call
from visage_dags import place

_TIMEOUT = timedelta(minutes=30)


def run(check: str, days: tuple[date, date], out: Path, *options: str) -> str:
    """Run a check on what the release's model scored on `days`, and return the path of its verdict.

    :raises AirflowSkipException: when the release has no model yet.
    """
    origin, release, home = place.origin(), place.release(), place.home()
    try:
        model = fetch_model(origin, release, cache=home / "models")
    except NoModelError as error:
        raise AirflowSkipException(str(error)) from error
    reference = fetch_reference(origin, release, cache=home / "references")
    scores = home / "scores"
    scores.mkdir(parents=True, exist_ok=True)
    since, until = days
    call(
        [
            *("python", "-m", "face_attributes", check, str(scores), "--reference", str(reference)),
            *("--model-sha256", model.stem, "--release", release),
            *("--since", since.isoformat(), "--until", until.isoformat(), "--out", str(out), *options),
        ],
        place.RELEASE_ROOT,
        _TIMEOUT,
    )
    logging.getLogger(__name__).info("Verdict: %s", out)
    return str(out)


def verdict(path: str) -> dict[str, Any]:
    """Read what a check found."""
    return json.loads(Path(path).read_text("utf-8"))
