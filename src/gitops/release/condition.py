"""The condition of an environment, as its Airflow answers it to `gitops status` at `condition.json`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from gitops.release import health, serving
from gitops.release.health import State
from gitops.text.markdown import one_line
from gitops.text.record import Record

PATH = "/visage/condition.json"

_Line = Annotated[str, AfterValidator(lambda text: one_line(text, longest=500))]


class Condition(Record):
    """The condition of an environment."""

    format: Literal[1] = 1
    health: State | None = None
    """The state of the watch over the release that runs; None if it is not watched."""
    ill: _Line = ""
    """The faults of the environment itself, where it is `errored`."""
    refused: _Line = ""
    """The reason why the declared release does not run."""


def read(folder: Path) -> Condition:
    """Read the condition of the bundle in `folder`.

    Raises:
        ReleaseError: if a file of the bundle cannot be read.

    """
    served, watch = serving.read(folder), health.read(folder)
    if served is None:
        return Condition()
    watched = watch if watch and served.commit in watch.releases else None
    return Condition(
        health=watched.state if watched else None,
        ill=watched.ill if watched and watched.state == "errored" else "",
        refused=served.refused or "",
    )
