"""First weeks: the images that a model scored at first in its environment, as a second reference.

The release's own reference shows how images differ from those that the model was selected on, which they may
do from its first day. The first weeks show how they changed since. The scores of other models are another
matter, so a new model begins again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from face_attributes.evaluation.reference import LEAST, WINDOW, Population
from face_attributes.monitoring import score_files, windows
from face_attributes.monitoring.score_files import DateRange
from face_attributes.monitoring.windows import Window

NAME = "first weeks"
DAYS = 14
_AT_MOST = 5000  # rows


@dataclass(frozen=True)
class FirstWeeks:
    """The first weeks of a model.

    Attributes:
        days: the first and the last, from the first image that it scored.
        rows: how many images it scored, each counted once.
        table: of these, as many as are looked at, with the number of the window of each.

    """

    days: DateRange
    rows: int
    table: pa.Table

    @property
    def population(self) -> Population:
        """The images as a reference of windows. The people on them are not known."""
        return Population(NAME, self.table)

    def later(self, windows: Sequence[Window]) -> list[Window]:
        """Return the windows that begin after these weeks."""
        end = self.days.until
        return [window for window in windows if end and window.days.since and window.days.since > end]


def find(places: Iterable[Path], model_sha256: str, columns: Sequence[str]) -> FirstWeeks | None:
    """Return the first weeks of a model, or None if it scored fewer than a hundred images in them.

    Files without a day do not count. If old scores were removed, the weeks begin with the oldest ones left.

    Raises:
        DataError: a file cannot be read.

    """
    dated = [path for path in score_files.files_in(places, score_files.ALL) if score_files.day_of(path)]
    days: list[Window] = []
    for day in windows.by_day(dated, model_sha256, columns, _AT_MOST):
        if days and _last(day) - _last(days[0]) >= timedelta(days=DAYS):
            break
        days.append(day)
    parts = windows.joined(days, LEAST, _AT_MOST)
    numbered = [
        part.table.append_column(WINDOW, pa.array([number] * part.table.num_rows, pa.int32()))
        for number, part in enumerate(parts)
    ]
    table, _ = score_files.sample(numbered, _AT_MOST)
    rows = sum(part.rows for part in parts)
    if table is None or rows < LEAST:
        return None
    first = _last(days[0])
    return FirstWeeks(DateRange(first, first + timedelta(days=DAYS - 1)), rows, table)


def _last(window: Window) -> date:
    assert window.days.until is not None
    return window.days.until
