"""Photographs with their labels in Parquet shards: a few large files instead of many small ones.

Columns: `id` (file name), `jpeg` (the file's bytes, untouched), `partition` (train, validation or test), then
one bool for each attribute. Equal rows give equal bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from face_attributes.common.celeba_attributes import PARTITIONS
from face_attributes.common.errors import DataError, first_line

ROWS_PER_SHARD = 2000
_FIXED = (("id", pa.string()), ("jpeg", pa.binary()), ("partition", pa.string()))


@dataclass(frozen=True)
class Rows:
    """Some rows of a shard: file names, file bytes, parts, and labels as a bool array (N, A)."""

    ids: list[str]
    jpegs: list[bytes]
    partitions: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class ShardWriter:
    """Writes rows to `part-00000.parquet` and so on in a folder, or to one file. A context manager."""

    def __init__(self, path: Path, attributes: Sequence[str], one_file: bool = False) -> None:
        self._path = path
        self._schema = pa.schema([*_FIXED, *((name, pa.bool_()) for name in attributes)])
        self._one_file = one_file
        self._writer: pq.ParquetWriter | None = None
        self._shards = 0
        self._pending: list[Rows] = []
        self._pending_rows = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        try:
            if failure is None:
                self._flush(everything=True)
        finally:
            if self._writer is not None:
                self._writer.close()

    def write(self, rows: Rows) -> None:
        """Append rows. At most a shard of them is held in memory."""
        self._pending.append(rows)
        self._pending_rows += len(rows)
        self._flush(everything=False)

    def _flush(self, everything: bool) -> None:
        if not self._pending_rows and (self._shards or not everything):
            return
        while self._pending_rows >= ROWS_PER_SHARD or everything:
            table = self._table()
            shard, rest = table.slice(0, ROWS_PER_SHARD), table.slice(ROWS_PER_SHARD)
            self._write(shard.combine_chunks())
            self._pending = [_rows(rest)] if rest.num_rows else []
            self._pending_rows = rest.num_rows
            if not rest.num_rows:
                return

    def _table(self) -> pa.Table:
        labels = (
            np.concatenate([rows.labels for rows in self._pending])
            if self._pending
            else np.zeros((0, len(self._schema) - len(_FIXED)), bool)
        )
        columns = [
            pa.array([value for rows in self._pending for value in rows.ids], pa.string()),
            pa.array([value for rows in self._pending for value in rows.jpegs], pa.binary()),
            pa.array([value for rows in self._pending for value in rows.partitions], pa.string()),
            *(pa.array(column) for column in labels.T),
        ]
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _write(self, table: pa.Table) -> None:
        if self._one_file:
            if self._writer is None:
                self._writer = _writer(self._path, self._schema)
            self._writer.write_table(table)
        else:
            with _writer(self._path / f"part-{self._shards:05d}.parquet", self._schema) as writer:
                writer.write_table(table)
        self._shards += 1


class ShardReader:
    """Reads the rows of Parquet files, one file after the other, with the attributes of the first.

    The others may have more attributes, and in another order.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise DataError("no shards to read; run the stage collect first")
        self._paths = tuple(paths)
        self.attributes = attributes_of(self._paths[0])
        for path in self._paths[1:]:
            found = attributes_of(path)
            missing = [name for name in self.attributes if name not in found]
            if missing:
                raise DataError(f"{path}: has no attribute {missing[0]}, which {self._paths[0]} has")

    def partition_sizes(self) -> dict[str, int]:
        """Return the number of rows in each part, reading that column alone."""
        sizes = dict.fromkeys(PARTITIONS, 0)
        for path in self._paths:
            counts = pq.read_table(path, columns=["partition"]).column(0).value_counts().to_pylist()
            for count in counts:
                if count["values"] not in sizes:
                    raise DataError(f"{path}: partition {count['values']!r}, must be one of {PARTITIONS}")
                sizes[count["values"]] += count["counts"]
        return sizes

    def check_ids(self) -> None:
        """Refuse an id that appears twice, reading that column alone.

        Raises:
            DataError: with the id, and the file of its second row.

        """
        seen: set[str] = set()
        for path in self._paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=["id"]):
                    for name in batch.column(0).to_pylist():
                        if name in seen:
                            raise DataError(f"{path}: image {name} was there before; each may be there once")
                        seen.add(name)

    def batches(self, rows: int = 256, partition: str | None = None) -> Iterator[Rows]:
        """Yield the rows of one part, or of all, in their order, at most `rows` at a time."""
        columns = [*(name for name, _ in _FIXED), *self.attributes]
        for path in self._paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(rows, columns=columns):
                    table = pa.Table.from_batches([batch])
                    if partition is not None:
                        table = table.filter(pc.field("partition") == partition)
                    if table.num_rows:
                        yield _rows(table.select(columns))


def attributes_of(path: Path) -> tuple[str, ...]:
    """Return the attributes of a shard.

    Raises:
        DataError: the file is missing, no Parquet file, or lacks a column.

    """
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({first_line(error)})") from None
    for name, kind in _FIXED:
        if name not in schema.names or schema.field(name).type not in (kind, _large(kind)):
            raise DataError(f"{path}: needs a column {name} of type {kind}")
    attributes = [field for field in schema if field.name not in dict(_FIXED)]
    if not attributes:
        raise DataError(f"{path}: has no attributes")
    for field in attributes:
        if field.type != pa.bool_():
            raise DataError(f"{path}: attribute {field.name} is {field.type}, must be bool")
    return tuple(field.name for field in attributes)


def _large(kind: pa.DataType) -> pa.DataType:
    return pa.large_string() if kind == pa.string() else pa.large_binary()


def _rows(table: pa.Table) -> Rows:
    ids, jpegs, partitions, *labels = table.columns
    return Rows(
        ids.to_pylist(),
        jpegs.to_pylist(),
        partitions.to_pylist(),
        np.stack([column.to_numpy() for column in labels], axis=1).astype(bool),
    )


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # JPEG does not compress further, and a dictionary of unique values only costs time
    compression = {name: "none" if name == "jpeg" else "zstd" for name in schema.names}
    options: dict[str, Any] = {"compression": compression, "use_dictionary": ["partition"]}
    return pq.ParquetWriter(path, schema, **options)
