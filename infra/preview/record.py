"""Contents of `preview.json`: the branch of a preview, and how long it stays."""

import hashlib
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from gitops.errors import ParseError
from gitops.text import record
from gitops.text.record import Moment, Record
from infra.local import files
from infra.local.errors import EngineError

FILE = "preview.json"
MOST_HOURS = 168
"""A week: then git may delete commits that no reference names."""
LONGEST_BRANCH = 1024
"""Characters of the name of a branch."""
_LETTERS = 12


class Preview(Record):
    """A preview.

    Attributes:
        branch: The branch.
        commit: The commit of the branch that it runs.
        port: The port of its web interface. The online service has the port 100 above.
        since: When somebody brought it up last.
        hours: For how many hours it stays from then on; 0 once somebody took it down.
        lived: The hours that the engine counted since then, whatever the clock showed.

    """

    format: Literal[1] = 1
    branch: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_BRANCH)]
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    port: int = Field(ge=1, le=65435)
    since: Moment
    hours: float = Field(ge=0, le=MOST_HOURS)
    lived: float = Field(default=0, ge=0)

    @property
    def name(self) -> str:
        """The name of its environment."""
        return name_of(self.branch)

    @property
    def until(self) -> datetime:
        """When it is taken down, by the clock."""
        return self.since + timedelta(hours=self.hours)

    def is_over(self, now: datetime) -> bool:
        """Return whether it has to be taken down: by the clock, or by the hours that were counted.

        A clock that jumps forward ends it early. One that jumps back does not prolong it.
        """
        return now >= self.until or self.lived >= self.hours


def name_of(branch: str) -> str:
    """Return the name of the environment of a branch, which has any characters and any length."""
    words = re.sub(r"[^a-z0-9]+", "-", branch.lower())[:_LETTERS].strip("-")
    digest = hashlib.sha256(branch.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return "-".join(filter(None, ("preview", words, digest)))


def read(folder: Path) -> Preview | None:
    """Return the preview in a folder, or None if there is none.

    Raises:
        EngineError: The file is not one of a preview.

    """
    path = folder / FILE
    try:
        return record.read_file(Preview, path)
    except FileNotFoundError:
        return None
    except ParseError as error:
        raise EngineError(f"{path}: {error}; remove the folder {folder}") from error


def write(folder: Path, preview: Preview) -> None:
    """Write the record of a preview."""
    files.write(folder / FILE, preview.model_dump_json(indent=2) + "\n")


def read_all(folder: Path) -> list[Preview]:
    """Return the previews that have a folder in `folder`."""
    found = [read(path.parent) for path in sorted(folder.glob(f"*/{FILE}"))]
    return [preview for preview in found if preview is not None]
