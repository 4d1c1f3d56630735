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

from face_attributes.evaluation.reference import LEAST, Population
from face_attributes.monitoring import score_files
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
        table: of these, as many as are looked at.

    """

    days: DateRange
    rows: int
    table: pa.Table

    @property
    def population(self) -> Population:
        """The images as a reference. The people on them are not known."""
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
    by_day: dict[date, list[Path]] = {}
    for path in score_files.files_in(places, score_files.ALL):
        if day := score_files.day_of(path):
            by_day.setdefault(day, []).append(path)
    distinct = score_files.Distinct()
    tables: list[pa.Table] = []
    end: date | None = None
    for day in sorted(by_day):
        if end is not None and day > end:
            break
        scored = [*distinct.of(score_files.read(by_day[day], model_sha256, columns, digests=True))]
        if scored and end is None:
            end = day + timedelta(days=DAYS - 1)
        tables += scored
    table, rows = score_files.sample(tables, _AT_MOST)
    if table is None or end is None or rows < LEAST:
        return None
    return FirstWeeks(DateRange(end - timedelta(days=DAYS - 1), end), rows, table)
