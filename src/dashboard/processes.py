"""The processes of this environment that ended and were started again, as the local engine notes them.

On Docker Compose and Kubernetes there are no such notes: these engines show the restarts themselves.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from dashboard.errors import DashboardError
from gitops.errors import ParseError
from gitops.text import record
from gitops.text.record import Count, Moment, Record

FOLDER = "VISAGE_PROCESSES"
"""Variable: the folder of the notes."""


class Starts(Record):
    """Contents of `<program>.starts`: how often a process was started since `make up`, and the last time."""

    format: Literal[1] = 1
    service: str
    count: Count
    last: Moment


@dataclass(frozen=True)
class Restarts:
    """How often a process was started again, and the last time."""

    process: str
    count: int
    last: datetime

    @property
    def times(self) -> str:
        return "once" if self.count == 1 else f"{self.count} times"


def read(environment: str) -> tuple[Restarts, ...]:
    """Return the processes of an environment that were started again, by name.

    Raises:
        DashboardError: A note cannot be read.

    """
    folder = os.environ.get(FOLDER)
    found = [_read(path) for path in sorted(Path(folder).glob("*.starts"))] if folder else []
    return tuple(
        Restarts(one.service.removeprefix(f"{environment}/"), one.count - 1, one.last)
        for one in found
        if one is not None and one.service.startswith(f"{environment}/") and one.count > 1
    )


def _read(path: Path) -> Starts | None:
    try:
        return record.read_file(Starts, path)
    except FileNotFoundError:
        return None  # The service was stopped at this moment
    except (OSError, ParseError) as error:
        raise DashboardError(f"{path}: {error}") from error
