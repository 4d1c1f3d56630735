"""Collect: from a folder of photographs to Parquet shards, leaving out what cannot be decoded."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from face_attributes import images, source
from face_attributes.attributes import PARTITIONS
from face_attributes.celeba import Listing
from face_attributes.errors import DataError, ImageError
from face_attributes.files import replacing_folder
from face_attributes.params import DataParams
from face_attributes.paths import RAW
from face_attributes.progress import bar
from face_attributes.quarantine import Quarantine
from face_attributes.shards import Rows, ShardWriter

_CHUNK = 500


def collect(params: DataParams, out: Path = RAW) -> None:
    """Write the shards and `quarantine.csv` of the chosen source to the folder `out`.

    Raises:
        DataError: the source is malformed, or too many of its images are bad; `out` is left as it was.

    """
    with source.opened(params) as listing:
        chosen = listing.sample(params.max_images)
        unlisted = listing.unlisted if params.max_images is None else ()
        quarantine = Quarantine(len(chosen) + len(unlisted), params.max_bad_fraction)
        for name in unlisted:
            quarantine.add(name, "in the folder, but not listed")
        with replacing_folder(out) as folder:
            _write_shards(listing, chosen, folder, quarantine)
            quarantine.write(folder / "quarantine.csv")
    print(f"collect: {len(chosen) + len(unlisted) - len(quarantine)} images, {len(quarantine)} in quarantine")


def _write_shards(listing: Listing, chosen: np.ndarray, folder: Path, quarantine: Quarantine) -> None:
    def read(index: int) -> bytes | ImageError:
        try:
            jpeg = images.read(listing.images / listing.ids[index])
            images.decode(jpeg)
        except ImageError as error:
            return error
        return jpeg

    written = 0
    with (
        ShardWriter(folder, listing.attributes) as writer,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        bar("collect", len(chosen), "images") as progress,
    ):
        for start in range(0, len(chosen), _CHUNK):
            chunk = chosen[start : start + _CHUNK]
            outcomes = list(pool.map(read, chunk))
            good = []
            for index, outcome in zip(chunk, outcomes, strict=True):
                if isinstance(outcome, ImageError):
                    quarantine.add(listing.ids[index], str(outcome))
                else:
                    good.append((index, outcome))
            if good:
                indices = [index for index, _ in good]
                writer.write(
                    Rows(
                        [listing.ids[index] for index in indices],
                        [jpeg for _, jpeg in good],
                        [PARTITIONS[listing.partitions[index]] for index in indices],
                        listing.labels[indices],
                    )
                )
            written += len(good)
            progress.update(len(chunk))
    if not written:
        raise DataError(f"{listing.images}: not one of the {len(chosen)} listed images can be used")
