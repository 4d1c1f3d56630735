"""Prepare: from shards to the arrays that training reads, and the hold-out set that judges the model.

Beside them a sample of the images that training saw, as they were: what is calibrated on images, or compares
others with them, reads it instead of all.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_attributes import images
from face_attributes.attributes import PARTITIONS
from face_attributes.decoding import ahead
from face_attributes.errors import DataError, ImageError
from face_attributes.files import digest_of, replacing, replacing_folder, sha256, write_json
from face_attributes.labelled import training_shards
from face_attributes.params import PrepareParams
from face_attributes.paths import HOLDOUT, LABELLED, PREPARED, RAW, SAMPLE
from face_attributes.prepared import INFO, Info, PartWriter
from face_attributes.progress import bar
from face_attributes.sampling import choose
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
    sample: Path = SAMPLE,
) -> None:
    """Write the arrays of the training and validation parts to `out` and the test part to `holdout`.

    The rows of `raw` come first, then those of each labelled batch, in order of their names. `sample` gets
    some images of the training part and as many of the validation part.

    Raises:
        DataError: there are no shards, a batch is missing, they do not agree, an id appears twice, an image
            is damaged, or a part is empty.

    """
    reader = ShardReader(training_shards(raw, labelled))
    reader.check_ids()
    sizes = reader.partition_sizes()
    empty = [name for name in PARTITIONS if not sizes[name]]
    if empty:
        raise DataError(f"{raw}: no {empty[0]} images; each part needs some, so more images are needed")
    with replacing_folder(out) as folder, replacing(holdout) as held_out, replacing(sample) as sampled:
        _write(reader, params, folder, held_out, sampled, sizes)
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


def _write(
    reader: ShardReader,
    params: PrepareParams,
    folder: Path,
    holdout: Path,
    sample: Path,
    sizes: dict[str, int],
) -> None:
    def shrink(row: _Row) -> tuple[_Row, np.ndarray | None]:
        if row.partition == _HELD_OUT:
            return row, None
        try:
            return row, images.shrink(images.decode(row.jpeg), params.shrink)
        except ImageError as error:
            raise DataError(f"image {row.id}: {error}; run the stage collect again") from None

    shape = images.shrunk_shape(params.shrink)
    with (
        PartWriter(folder, "train", sizes["train"], shape, len(reader.attributes)) as train,
        PartWriter(folder, "validation", sizes["validation"], shape, len(reader.attributes)) as validation,
        ShardWriter(holdout, reader.attributes, one_file=True) as test,
        ShardWriter(sample, reader.attributes, one_file=True) as some,
        bar("prepare", sum(sizes.values()), "images") as progress,
    ):
        arrays = {"train": train, "validation": validation}
        chosen = {name for part in arrays for name in choose(reader.ids(part), params.sample)}
        for row, pixels in ahead(shrink, _rows(reader)):
            if pixels is None:
                test.write(_one(row))
            else:
                arrays[row.partition].append(pixels, row.labels)
                if row.id in chosen:
                    some.write(_one(row))
            progress.update()


def _one(row: _Row) -> Rows:
    return Rows([row.id], [row.jpeg], [row.partition], row.labels[None])


def _rows(reader: ShardReader) -> Iterator[_Row]:
    for rows in reader.batches():
        yield from map(_Row, rows.ids, rows.jpegs, rows.partitions, rows.labels)
