"""Join the parts of a large batch. Memory does not grow with the batch."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from face_attributes.common.errors import DataError
from face_attributes.common.files import check_output, replacing
from face_attributes.monitoring.batch_summary import Summary, is_summary
from face_attributes.monitoring.part import KEY, TOTAL, UNUSABLE, Part
from face_attributes.monitoring.score import (
    PARQUET,
    check_photographs,
    is_scores,
    move_unusable,
    none_usable,
    printable_reasons,
)


@dataclass(frozen=True)
class _File:
    path: Path
    part: Part
    total: int
    metadata: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> "_File":
        try:
            raw = pq.read_metadata(path).metadata or {}
            metadata = {key.decode(): value.decode() for key, value in raw.items() if key != b"ARROW:schema"}
            return cls(path, Part.parse(metadata[KEY]), int(metadata[TOTAL]), metadata)
        except (OSError, pa.ArrowException, LookupError, ValueError) as error:
            raise DataError(f"{path}: not a part of a batch; score the part again") from error

    @property
    def bad(self) -> dict[str, str]:
        return json.loads(self.metadata[UNUSABLE])

    def same(self) -> tuple[Any, ...]:
        names = ("model_sha256", "release", "thresholds")
        return self.part.count, self.total, *(self.metadata[name] for name in names)


def join(
    folder: Path,
    parts: Sequence[Path],
    out: Path,
    quarantine_folder: Path | None = None,
    summary: Path | None = None,
) -> tuple[int, dict[str, str]]:
    """Join the files of all parts of a batch. The result is that of one `score` of the whole folder.

    Args:
        folder: The photographs.
        parts: The files that `score` wrote, one for each part, in any order.
        out: Parquet file to write.
        quarantine_folder: The folder for unusable photographs, as for `score`.
        summary: JSON file for the summary of the whole batch, as for `score`.

    Returns:
        The number of faces, and the reason for each unusable photograph, by its printable name.

    Raises:
        DataError: A part is missing, is there twice, or belongs to another batch, model or release; the
            folder has other photographs now; or no photograph of it is usable.
        FileError: `out` or `summary` is one of the parts, a device or a link, or holds something else.

    """
    files = sorted((_File.read(path) for path in parts), key=lambda file: file.part.number)
    _check(files)
    inputs = {f"part {file.part}": file.path for file in files}
    check_output(out, inputs, is_scores)
    if summary is not None:
        check_output(summary, {**inputs, "the file of scores": out}, is_summary)
    first = files[0].metadata
    bad = {name: reason for file in files for name, reason in file.bad.items()}
    figures = Summary(list(json.loads(first["thresholds"])))
    # A process that joined them before this one may have ended while it moved the unusable ones.
    left = {name: reason for name, reason in bad.items() if os.path.lexists(folder / name)}
    check_photographs(folder, files[0].total, len(bad) - len(left))
    with replacing(out) as partial:
        _write(files, partial, figures, bad)
        if summary is not None:
            figures.write(summary, out, first["model_sha256"], first["release"] or None, bad)
        if not figures.rows:
            raise none_usable(folder, files[0].total, bad, quarantine_folder)
    if quarantine_folder is not None:
        move_unusable(folder, left, quarantine_folder)
    return figures.rows, printable_reasons(bad)


def _check(files: Sequence[_File]) -> None:
    if not files:
        raise DataError("name the files of the parts")
    for file in files:
        if file.same() != files[0].same():
            raise DataError(
                f"{file.path}: is of another batch, model or release than {files[0].path}; "
                "score all parts again"
            )
    numbers = [file.part.number for file in files]
    missing = sorted(set(range(1, files[0].part.count + 1)) - set(numbers))
    if missing or len(numbers) != files[0].part.count:
        problem = f"part {missing[0]} is missing" if missing else "a part is there twice"
        raise DataError(f"{files[0].path.parent}: {problem}, of {files[0].part.count}")


def _write(files: Sequence[_File], path: Path, figures: Summary, bad: Mapping[str, str]) -> None:
    shared = ("model_sha256", "release", "thresholds")
    metadata = {name: files[0].metadata[name] for name in shared}
    metadata["quarantined"] = json.dumps(printable_reasons(bad), ensure_ascii=False)
    schema = pq.read_schema(files[0].path).remove_metadata()
    with pq.ParquetWriter(path, schema, **PARQUET) as writer:
        for table in _tables(files):
            writer.write_table(table)
            for rows in table.to_batches():
                figures.add(rows)
        writer.add_key_value_metadata(metadata)


def _tables(files: Sequence[_File]) -> Iterator[pa.Table]:
    for file in files:
        with pq.ParquetFile(file.path) as reader:
            for group in range(reader.num_row_groups):
                yield reader.read_row_group(group).replace_schema_metadata()
