"""Collect: write a folder of photographs to Parquet shards, without images that cannot be decoded."""

import csv
import io
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_attributes.common.celeba_attributes import PARTITIONS, Align
from face_attributes.common.errors import DataError, ImageError
from face_attributes.common.files import printable, replacing_folder, write_text
from face_attributes.common.paths import FORGOTTEN, PEOPLE, RAW
from face_attributes.common.progress import bar
from face_attributes.data import celeba, images, source
from face_attributes.data.alignment import aligned_jpeg
from face_attributes.data.celeba import Listing
from face_attributes.data.forgotten import REASON, Forgotten
from face_attributes.data.parallel import ahead
from face_attributes.data.quarantine import Quarantine
from face_attributes.data.quarantine import write as write_reasons
from face_attributes.data.shards import Rows, ShardWriter
from face_attributes.params import DataParams

log = logging.getLogger(__name__)


class Written(NamedTuple):
    """The number of images that were written, and the indices of those that somebody asked to delete."""

    images: int
    forgotten: list[int]


_CHUNK = 500  # images between two writes
_MOST_NAMED = 10


def collect(params: DataParams, out: Path = RAW) -> None:
    """Write the shards of the chosen source to the folder `out`, and two lists.

    `quarantine.csv` in the folder has the files that were left out. `people.csv` beside the folder has the
    person on each image, where the source knows it.

    Raises:
        DataError: the source is malformed, or too many of its images are bad; `out` is left as it was.
        ParamsError: an attribute is asked for that the source does not have.

    """
    with source.opened(params) as listing:
        chosen = listing.sample(params.max_images)
        if params.source == "celeba":
            folder = source.celeba_folder()
            log.info(f"collect: {folder}: {listing.described()}")
            if unused := celeba.unused(folder, listing):
                more = " ..." * (len(unused) > _MOST_NAMED)
                log.info(f"collect: not read in {folder}: {', '.join(unused[:_MOST_NAMED])}{more}")
        if listing.absent:
            log.info(f"collect: {listing.absent} listed images are not in {listing.images}: left out")
        if len(chosen) < len(listing):
            log.info(f"collect: {len(chosen)} of {len(listing)} images are chosen (data.max_images)")
        # A sample allows no conclusion about the rest of the folder
        unlisted = listing.unlisted if len(chosen) == len(listing) else ()
        quarantine = Quarantine(len(chosen) + len(unlisted), params.max_bad_fraction)
        for name in unlisted:
            quarantine.add(printable(name), "in the folder, but not in the list")
        with replacing_folder(out) as folder:
            with ShardWriter(folder, listing.attributes) as writer:
                forgotten = Forgotten.read(out.with_name(FORGOTTEN.name))
                options = params.align, forgotten, "collect"
                written = write_images(listing, chosen, writer, quarantine, *options)
            write_reasons(folder / "quarantine.csv", quarantine.reasons)
        chosen = chosen[~np.isin(chosen, written.forgotten)]
        _write_people(listing, chosen, out.with_name(PEOPLE.name))
    counts = np.bincount(listing.partitions[chosen], minlength=len(PARTITIONS))
    parts = ", ".join(f"{count} {name}" for count, name in zip(counts, PARTITIONS, strict=True))
    log.info(f"collect: {written.images} images ({parts}, as listed), {len(quarantine)} in quarantine")


def _write_people(listing: Listing, chosen: np.ndarray, path: Path) -> None:
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["image_id", "person"])
    if listing.people is not None:
        table.writerows((listing.ids[index], listing.people[index]) for index in chosen)
    write_text(path, lines.getvalue())


def write_images(
    listing: Listing,
    chosen: np.ndarray,
    writer: ShardWriter,
    quarantine: Quarantine,
    align: Align,
    forgotten: Forgotten,
    task: str,
    prefix: str = "",
) -> Written:
    """Align those of the chosen images that can be used, and write them.

    A photograph that somebody asked to delete is left out, and counted in the log without its name.

    Args:
        listing: images and labels.
        chosen: int array, indices into the listing.
        writer: takes the rows.
        quarantine: takes the rest, with reasons.
        align: When to look for a face in an image.
        forgotten: The photographs that somebody asked to delete.
        task: The label of the progress bar.
        prefix: The prefix of the ids, before the file names.

    Raises:
        DataError: too many images are bad, or all of them.

    """

    def read(index: int) -> tuple[int, bytes | ImageError | None]:
        try:
            content = images.read(listing.images / listing.ids[index])
            if forgotten.has_file(content):
                return index, None
            jpeg = aligned_jpeg(content, align)
        except ImageError as error:
            return index, error
        return index, None if forgotten.has(jpeg) else jpeg

    written = 0
    left_out: list[int] = []
    good: list[tuple[int, bytes]] = []
    with bar(task, len(chosen), "images") as progress:
        for index, outcome in ahead(read, chosen):
            progress.update()
            if outcome is None:
                left_out.append(index)
                continue
            if isinstance(outcome, ImageError):
                quarantine.add(listing.ids[index], str(outcome))
                continue
            good.append((index, outcome))
            if len(good) == _CHUNK:
                writer.write(_rows(listing, good, prefix))
                written += len(good)
                good.clear()
        if good:
            writer.write(_rows(listing, good, prefix))
            written += len(good)
        if not written:
            raise DataError(f"{listing.images}: not one of {len(chosen)} images can be used")
    if left_out:
        log.info(f"{task}: {len(left_out)} images are left out: {REASON} ({FORGOTTEN})")
    return Written(written, left_out)


def _rows(listing: Listing, good: list[tuple[int, bytes]], prefix: str) -> Rows:
    indices = [index for index, _ in good]
    return Rows(
        ids=[prefix + listing.ids[index] for index in indices],
        jpegs=[jpeg for _, jpeg in good],
        partitions=[PARTITIONS[listing.partitions[index]] for index in indices],
        labels=listing.labels[indices],
    )
