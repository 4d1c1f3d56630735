"""Prepare: from shards to the arrays that training reads, and the hold-out set that judges the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_attributes import images
from face_attributes.attributes import PARTITIONS
from face_attributes.decoding import ahead
from face_attributes.errors import DataError, ImageError
from face_attributes.files import digest_of, replacing, replacing_folder, sha256, write_json
from face_attributes.params import PrepareParams
from face_attributes.paths import HOLDOUT, LABELLED, PREPARED, RAW
from face_attributes.prepared import INFO, Info, PartWriter
from face_attributes.progress import bar
from face_attributes.shards import Rows, ShardReader, ShardWriter

_HELD_OUT = "test"


class _Row(NamedTuple):
    id: str
    jpeg: bytes
    partition: str
    labels: np.ndarray  # bool (A,)


def prepare(
    params: PrepareParams,
    raw: Path = RAW,
    labelled: Path = LABELLED,
    out: Path = PREPARED,
    holdout: Path = HOLDOUT,
) -> None:
    """Write the arrays of the training and validation parts to `out` and the test part to `holdout`.

    Raises:
        DataError: there are no shards, they do not agree, an image is damaged, or a part is empty.

    """
    reader = ShardReader([*sorted(raw.glob("*.parquet")), *sorted(labelled.glob("*.parquet"))])
    sizes = reader.partition_sizes()
    empty = [name for name in PARTITIONS if not sizes[name]]
    if empty:
        raise DataError(f"{raw}: no {empty[0]} images; each part needs some, so more images are needed")
    with replacing_folder(out) as folder, replacing(holdout) as partial:
        _write(reader, params.shrink, folder, partial, sizes)
        digests = {file.name: sha256(file) for file in sorted(folder.iterdir())}
        info = Info(
            attributes=reader.attributes,
            shrink=params.shrink,
            train=sizes["train"],
            validation=sizes["validation"],
            digest=digest_of({"attributes": reader.attributes, "files": digests}),
        )
        write_json(folder / INFO, info.to_json())
    print("prepare: " + ", ".join(f"{count} {name}" for name, count in sizes.items()))


def _write(reader: ShardReader, factor: int, folder: Path, holdout: Path, sizes: dict[str, int]) -> None:
    def shrink(row: _Row) -> tuple[_Row, np.ndarray | None]:
        if row.partition == _HELD_OUT:
            return row, None
        try:
            return row, images.shrink(images.decode(row.jpeg), factor)
        except ImageError as error:
            raise DataError(f"image {row.id}: {error}; run the stage collect again") from None

    shape = images.shrunk_shape(factor)
    with (
        PartWriter(folder, "train", sizes["train"], shape, len(reader.attributes)) as train,
        PartWriter(folder, "validation", sizes["validation"], shape, len(reader.attributes)) as validation,
        ShardWriter(holdout, reader.attributes, one_file=True) as test,
        bar("prepare", sum(sizes.values()), "images") as progress,
    ):
        arrays = {"train": train, "validation": validation}
        for row, pixels in ahead(shrink, _rows(reader)):
            if pixels is None:
                test.write(Rows([row.id], [row.jpeg], [row.partition], row.labels[None]))
            else:
                arrays[row.partition].append(pixels, row.labels)
            progress.update()


def _rows(reader: ShardReader) -> Iterator[_Row]:
    for rows in reader.batches():
        yield from map(_Row, rows.ids, rows.jpegs, rows.partitions, rows.labels)
