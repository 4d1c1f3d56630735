"""Prepare: from shards to the arrays that training reads, and the hold-out set that judges the model."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from face_attributes import images
from face_attributes.attributes import PARTITIONS
from face_attributes.errors import DataError
from face_attributes.files import digest_of, replacing, replacing_folder, sha256, write_json
from face_attributes.params import PrepareParams
from face_attributes.paths import HOLDOUT, LABELLED, PREPARED, RAW
from face_attributes.prepared import INFO, Info, images_file, labels_file
from face_attributes.progress import bar
from face_attributes.shards import Rows, ShardReader, ShardWriter


def prepare(
    params: PrepareParams,
    raw: Path = RAW,
    labelled: Path = LABELLED,
    out: Path = PREPARED,
    holdout: Path = HOLDOUT,
) -> None:
    """Write the arrays of the training and validation parts to `out` and the test part to `holdout`.

    Raises:
        DataError: there are no shards, they do not agree, or a part is empty.

    """
    reader = ShardReader([*sorted(raw.glob("*.parquet")), *sorted(labelled.glob("*.parquet"))])
    sizes = reader.partition_sizes()
    empty = [name for name in PARTITIONS if not sizes[name]]
    if empty:
        raise DataError(f"{raw}: no {empty[0]} images; each part needs some, more images are needed")
    with replacing_folder(out) as folder, replacing(holdout) as partial_holdout:
        arrays = {
            name: _Arrays(folder, name, sizes[name], params.size, len(reader.attributes))
            for name in ("train", "validation")
        }
        with ShardWriter(partial_holdout, reader.attributes, one_file=True) as writer:
            for part, rows, pixels in _shrunk(reader, params.size, sum(sizes.values())):
                if part == "test":
                    writer.write(rows)
                else:
                    arrays[part].append(pixels, rows.labels)
        for array in arrays.values():
            array.close()
        digests = {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.suffix == ".npy"}
        info = Info(
            attributes=reader.attributes,
            size=params.size,
            train=sizes["train"],
            validation=sizes["validation"],
            digest=digest_of({"attributes": reader.attributes, "files": digests}),
        )
        write_json(folder / INFO, info.to_json())
    print("prepare: " + ", ".join(f"{count} {name}" for name, count in sizes.items()))


class _Arrays:
    """The two growing arrays of one part, on disk."""

    def __init__(self, folder: Path, name: str, rows: int, size: int, attributes: int) -> None:
        create = np.lib.format.open_memmap
        self._images = create(folder / images_file(name), "w+", np.uint8, (rows, size, size, 3))
        self._labels = create(folder / labels_file(name), "w+", np.uint8, (rows, attributes))
        self._filled = 0

    def append(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        end = self._filled + len(pixels)
        self._images[self._filled : end] = pixels
        self._labels[self._filled : end] = labels
        self._filled = end

    def close(self) -> None:
        assert self._filled == len(self._images)
        self._images.flush()
        self._labels.flush()
        del self._images, self._labels


def _shrunk(reader: ShardReader, size: int, total: int) -> Iterator[tuple[str, Rows, np.ndarray]]:
    """Yield rows of one part at a time, with their pixels at `size` (none for the test part)."""

    def shrink(jpeg: bytes) -> np.ndarray:
        return images.shrink(images.decode(jpeg), size)

    with ThreadPoolExecutor(os.cpu_count()) as pool, bar("prepare", total, "images") as progress:
        for rows in reader.batches():
            for part in PARTITIONS:
                some = rows.where([name == part for name in rows.partitions])
                if len(some):
                    decoded = [] if part == "test" else list(pool.map(shrink, some.jpegs))
                    yield part, some, np.array(decoded, np.uint8)
            progress.update(len(rows))
