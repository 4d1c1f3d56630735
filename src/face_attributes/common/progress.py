"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import logging
import sys
import threading
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}, {rate_fmt}, {elapsed} elapsed, {remaining} left{postfix}"


log = logging.getLogger(__name__)

# In place of a lock between processes, of which Python reports a leak when a process of a training is lost
tqdm.set_lock(threading.RLock())


class _Lines:
    """The log for a bar that is not on a terminal: each state of the bar is a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip():
            log.info("%s", line)

    def flush(self) -> None:
        """Do nothing: a record is written at once."""


def bar(description: str, total: int, unit: str, **options: Any) -> tqdm:
    """Return a progress bar, which is lines in the log where there is no terminal.

    Use it as a context manager and call `update`.
    """
    if sys.stderr.isatty():
        return tqdm(desc=description, total=total, unit=f" {unit}", smoothing=0.1, **options)
    return tqdm(
        desc=description,
        total=total,
        unit=unit,
        file=_Lines(),
        mininterval=_SECONDS_BETWEEN_LINES,
        maxinterval=_SECONDS_BETWEEN_LINES,
        delay=_SECONDS_BETWEEN_LINES,
        bar_format=_LINE,
        **options,
    )
