"""Contents of `health.json`: how a release does since it took the place of another one.

The dag-processor writes it beside `release.json`, the triggerer and the page read it.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gitops import atomic
from gitops.errors import ParseError, ReleaseError
from gitops.release.checks import Check
from gitops.text import record
from gitops.text.record import Moment, Record

FILE = "health.json"
_REMEDY = "the dag-processor begins the watch again"

State = Literal["watching", "passed", "failed", "errored"]
"""`failed`: worse because of the release. `errored`: the environment itself is ill, so nothing is known."""
FINAL = ("passed", "failed")


class Health(Record):
    """The watch over one release."""

    format: Literal[1] = 1
    releases: list[str] = Field(min_length=1)
    """The commits of the release that have run here, as merges that change no release bring more of them."""
    before: str | None
    """The release that ran before."""
    since: Moment
    until: Moment
    known_errors: list[str] | None = None
    """The DAG files that could not be imported at the switch; None if that could not be read yet."""
    admitted: list[Check] = Field(default_factory=list)
    """The checks before it ran."""
    state: State = "watching"
    checks: list[Check] = Field(default_factory=list)
    ill: str = ""
    """The faults of the environment."""
    rejected: bool = False
    """Whether git has had the rejection of the release."""

    @property
    def all_checks(self) -> tuple[Check, ...]:
        return (*self.admitted, *self.checks)


def read(folder: Path) -> Health | None:
    """Read the watch of the bundle in `folder`; None if there was none yet.

    Raises:
        ReleaseError: if the file cannot be read.

    """
    path = folder / FILE
    try:
        return record.read_file(Health, path)
    except FileNotFoundError:
        return None
    except OSError as error:
        remedy = "its processes must be able to read it"
        raise ReleaseError(str(path), f"cannot be read, {error.strerror}", remedy) from error
    except ParseError as error:
        raise ReleaseError(str(path), str(error), _REMEDY) from error


def write(folder: Path, health: Health) -> None:
    """Replace the watch."""
    atomic.write(folder / FILE, health.model_dump_json())
