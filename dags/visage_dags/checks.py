"""The checks of monitoring: commands of `face_attributes` that write their result to a JSON file."""

import logging
from datetime import date
from pathlib import Path
from typing import TypeVar

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from pydantic import ValidationError

from gitops import tasks
from visage_dags import context, records
from visage_dags.records import Record

_Kind = TypeVar("_Kind", bound=Record)


def run(check: str, days: tuple[date, date], out: Path, *options: str) -> str:
    """Run a check on the images that the release's model scored on `days`; return the path of its result.

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
    logging.getLogger(__name__).info("Result: %s", out)
    return str(out)


def read(path: str, kind: type[_Kind]) -> _Kind:
    """Read the result of a check.

    Raises:
        AirflowFailException: if it cannot be read. Trying again does not help.

    """
    try:
        return kind.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        problem = error.strerror
    except ValidationError as error:
        problem = records.problem(error)
    raise AirflowFailException(f"{path}: {problem}; clear the task that wrote it")
