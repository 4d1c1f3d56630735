"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}, {rate_fmt}, {elapsed} elapsed, {remaining} left{postfix}"


class _Lines(tqdm):
    """A bar for log files: each refresh is a line of its own."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        self.fp.write(f"{msg or self}\n")
        self.fp.flush()
        return True

    def clear(self, nolock: bool = False) -> None:
        """Leave the lines that are already in the log."""

    def close(self) -> None:
        """End with a last line if there was one before: what was too quick for any needs none."""
        if not self.disable:
            if self.last_print_t > self.start_t:
                self.display()
            self.disable = True
            self._decr_instances(self)


def bar(description: str, total: int, unit: str, **options: Any) -> tqdm:
    """Return a progress bar on standard error. Use it as a context manager and call `update`."""
    if sys.stderr.isatty():
        return tqdm(desc=description, total=total, unit=f" {unit}", smoothing=0.1, leave=True, **options)
    return _Lines(
        desc=description,
        total=total,
        unit=unit,
        mininterval=_SECONDS_BETWEEN_LINES,
        maxinterval=_SECONDS_BETWEEN_LINES,
        delay=_SECONDS_BETWEEN_LINES,
        bar_format=_LINE,
        **options,
    )
