"""Contents of `release.json`: the release that the bundle of an environment serves."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gitops import atomic, runtime
from gitops.errors import ParseError, ReleaseError
from gitops.text import record
from gitops.text.record import Record

FILE = "release.json"
_REMEDY = "restart the dag-processor, which writes it again"


class Serving(Record):
    """The release that is served. `commit` None is the empty folder of an environment without a release."""

    format: Literal[1] = 1
    environment: str
    commit: str | None
    declared: str | None
    refused: str | None = None
    """The reason why the declared release does not run, or None if it runs."""
    model_notice: str | None = None
    """A notice that the model was made from another commit."""
    next_command: str | None = None
    """The command that repairs that."""
    contract: int = Field(default_factory=lambda: runtime.CONTRACT)
    """The contract that this runtime keeps."""
    needs: int = 0
    """The contract that the release needs."""
    unverified: bool = False
    """Whether the release waits for the verdict of this environment."""
    trial: str | None = None
    """The commit of the shadow or the canary beside the release, as long as it was not rejected."""
    trial_models: tuple[str, ...] = ()
    """The digests of the models whose batches are compared with it: that of the release, and of a canary."""


def read(folder: Path) -> Serving | None:
    """Read which release the bundle in `folder` serves; None if it has not served a release yet.

    Raises:
        ReleaseError: if the file cannot be read.

    """
    path = folder / FILE
    try:
        return record.read_file(Serving, path)
    except FileNotFoundError:
        return None
    except OSError as error:
        remedy = "the api-server must be able to read it"
        raise ReleaseError(str(path), f"cannot be read, {error.strerror}", remedy) from error
    except ParseError as error:
        raise ReleaseError(str(path), str(error), _REMEDY) from error


def write(folder: Path, serving: Serving) -> None:
    """Replace the record of the served release."""
    atomic.write(folder / FILE, serving.model_dump_json())
