"""Windows: whole days of scored images, each with enough of them to be tested by itself.

A bad day is an incident, whereas drift lasts. So a check counts the windows that show it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from face_attributes.monitoring import score_files
from face_attributes.monitoring.score_files import DateRange


@dataclass(frozen=True)
class Window:
    """Some days.

    Attributes:
        days: the first and the last; both open where the files lie in no folder `date=<day>`.
        rows: how many images were scored on them, each counted once.
        table: of these, as many as are looked at.
        repeated: how many rows are left out, as their image was scored before, on these days or earlier ones.

    """

    days: DateRange
    rows: int
    table: pa.Table
    repeated: int = 0

    def note(self) -> dict[str, object]:
        """Return it as JSON has it."""
        counts = {"rows": self.rows, "rows_used": self.table.num_rows, "repeated": self.repeated}
        return {**self.days.note(), **counts}


def cut(
    files: Iterable[Path],
    model_sha256: str,
    columns: Sequence[str],
    *,
    minimum: int,
    at_most: int,
    latest: int,
) -> list[Window]:
    """Return the latest windows, the oldest first.

    An image counts once, on the first day that it was scored: repetitions add no information.
    Days with fewer than `minimum` images are joined with the days after them, and the last ones with the
    window before. A window that is smaller all the same is the only one.

    Args:
        files: of scores.
        model_sha256: other models' scores are left out.
        columns: to read.
        minimum: images that a window has.
        at_most: images that are looked at in a window.
        latest: how many windows.

    Raises:
        DataError: a file cannot be read.

    """
    return joined(by_day(files, model_sha256, columns, at_most), minimum, at_most)[-latest:]


def joined(days: Iterable[Window], minimum: int, at_most: int) -> list[Window]:
    """Return windows of days in order, as `cut` does."""
    windows: list[Window] = []
    waiting: Window | None = None
    for window in days:
        waiting = window if waiting is None else _joined(waiting, window, at_most)
        if waiting.rows >= minimum:
            windows.append(waiting)
            waiting = None
    if waiting is not None:
        windows.append(_joined(windows.pop(), waiting, at_most) if windows else waiting)
    return windows


def by_day(
    files: Iterable[Path], model_sha256: str, columns: Sequence[str], at_most: int
) -> Iterator[Window]:
    """Yield a window for each day on which the model scored, the oldest first."""
    of_day: dict[date | None, list[Path]] = {}
    for path in files:
        of_day.setdefault(score_files.day_of(path), []).append(path)
    distinct = score_files.Distinct()
    # Undated files, which somebody named by hand, count as the oldest
    for day in sorted(of_day, key=lambda day: day or date.min):
        before = distinct.repeated
        tables = distinct.of(score_files.read(of_day[day], model_sha256, columns, digests=True))
        table, rows = score_files.sample(tables, at_most)
        if table is not None:
            yield Window(DateRange(day, day), rows, table, distinct.repeated - before)


def _joined(one: Window, other: Window, at_most: int) -> Window:
    # Each table is a sample of its window: the smaller the window, the less of it is left out
    table, _ = score_files.sample([one.table, other.table], at_most)
    assert table is not None
    days = DateRange(one.days.since, other.days.until)
    return Window(days, one.rows + other.rows, table, one.repeated + other.repeated)
