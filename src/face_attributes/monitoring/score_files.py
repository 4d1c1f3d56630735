"""The Parquet files of the command `score`, read for monitoring.

Another model's scores are another matter: only the rows of one model are read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from face_attributes.common.errors import DataError, first_line
from face_attributes.common.sampling import choose
from face_attributes.evaluation import columns as monitoring_columns
from face_attributes.evaluation.columns import DIGEST

NAME = "name"
_DATE = "date="
_TEXT = (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()))
_AT_ONCE = 4  # times the rows that are kept


@dataclass(frozen=True)
class DateRange:
    """A range of days, both ends included. None leaves an end open."""

    since: date | None = None
    until: date | None = None

    def have(self, path: Path) -> bool:
        """Return whether a file is in the range. A file outside of folders `date=<day>` always is."""
        day = day_of(path)
        if day is None:
            return True
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)

    def note(self) -> dict[str, str | None]:
        """Return the range as a JSON object."""
        return {name: day and day.isoformat() for name, day in vars(self).items()}


ALL = DateRange()


def day_of(path: Path) -> date | None:
    """Return the day of a file of scores, or None outside of folders `date=<day>`."""
    return next((_day(part) for part in reversed(path.parts[:-1]) if part.startswith(_DATE)), None)


def _day(folder: str) -> date | None:
    try:
        return date.fromisoformat(folder.removeprefix(_DATE))
    except ValueError:
        return None


def files_in(places: Iterable[Path], days: DateRange) -> list[Path]:
    """Return the files of scores among `places`: files, and folders that hold some at any depth.

    Raises:
        DataError: there is no such file or folder.

    """
    files: set[Path] = set()
    for place in places:
        if place.is_dir():
            # A leading dot marks a file that is still being written
            files.update(path for path in place.rglob("*.parquet") if not path.name.startswith("."))
        elif place.is_file():
            files.add(place)
        else:
            raise DataError(f"{place}: no such file or folder")
    return sorted(path for path in files if days.have(path))


def read(
    files: Iterable[Path], model_sha256: str, columns: Sequence[str], *, digests: bool = False
) -> Iterator[pa.Table]:
    """Yield for each file that has rows of the model a table of NAME (`<batch>/<id>`) and `columns`.

    With `digests` a column DIGEST follows, empty where the file has none.

    Raises:
        DataError: with the file that cannot be read, is no file of scores, or lacks something.

    """
    for path in files:
        table = _columns(path, ["id", "model_sha256"])
        for name in table.column_names:
            if table.column(name).type not in _TEXT:
                raise DataError(f"{path}: not a file of scores: {name} is no text")
        mine = pc.equal(table.column("model_sha256"), model_sha256)  # pyright: ignore[reportAttributeAccessIssue] made at import
        if not pc.any(mine).as_py():  # pyright: ignore[reportAttributeAccessIssue] made at import
            continue
        values = _columns(path, columns).filter(mine)
        names = pc.binary_join_element_wise(f"{path.stem}/", table.column("id").filter(mine), "")  # pyright: ignore[reportAttributeAccessIssue] made at import
        if any(column.null_count for column in (names, *values.columns)):
            raise DataError(f"{path}: has empty values; score the batch again")
        if fault := monitoring_columns.fault(values, columns, pq.read_schema(path).names):
            raise DataError(f"{path}: {fault}; score the batch again")
        if digests:
            values = values.append_column(DIGEST, _digests(path, mine))
        yield values.add_column(0, NAME, names)


class Distinct:
    """Leaves out the rows whose image was there before.

    Files that were written before there were digests have none: each of their rows counts.

    Attributes:
        repeated: how many rows were left out.

    """

    def __init__(self) -> None:
        self.repeated = 0
        self._seen: set[bytes] = set()

    def of(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield the tables, which have the column DIGEST, without it and without rows that were there."""
        for table in tables:
            kept = [self._is_new(digest) for digest in table.column(DIGEST).to_pylist()]
            self.repeated += len(kept) - sum(kept)
            yield table.filter(pa.array(kept, pa.bool_())).drop_columns(DIGEST)

    def _is_new(self, digest: bytes | None) -> bool:
        if digest is None:
            return True
        new = digest not in self._seen
        self._seen.add(digest)
        return new


def _digests(path: Path, mine: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    if DIGEST in pq.read_schema(path).names:
        return _columns(path, [DIGEST]).column(0).filter(mine)
    return pa.nulls(pc.sum(mine).as_py(), pa.binary())  # pyright: ignore[reportAttributeAccessIssue] made at import


def _columns(path: Path, names: Sequence[str]) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in names if name not in file.schema_arrow.names]
            if not missing:
                return file.read(columns=list(names))
    except (OSError, pa.ArrowException) as error:
        reason = first_line(error)
        raise DataError(f"{path}: not a readable file of scores, perhaps truncated ({reason})") from None
    raise DataError(f"{path}: not a file of scores of this model: no column {missing[0]}")


def sample(tables: Iterable[pa.Table], count: int) -> tuple[pa.Table | None, int]:
    """Return at most `count` rows of all tables, chosen by a hash of their NAME, and how many there were.

    However many there are, only some times as many as are kept are in memory at once.
    """
    kept: list[pa.Table] = []
    seen = waiting = 0
    for table in tables:
        kept.append(table)
        seen += table.num_rows
        waiting += table.num_rows
        if waiting > _AT_ONCE * count:
            kept = [_choose(kept, count)]
            waiting = 0
    return (_choose(kept, count) if kept else None), seen


def _choose(tables: Sequence[pa.Table], count: int) -> pa.Table:
    # Some files may have numbers of another precision
    table = pa.concat_tables(tables, promote_options="permissive")
    names = table.column(NAME).to_pylist()
    chosen = choose(names, count)
    return table.filter(pa.array([name in chosen for name in names], pa.bool_()))
