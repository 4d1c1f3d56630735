"""Gather: scored images whose true attributes came to be known, as a folder that `append` takes.

A model should learn from the images that it scored. A gathered batch never changes: images whose labels
arrive later go to the next batch.
"""

import csv
import io
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_attributes.common.errors import DataError
from face_attributes.common.files import below, is_text, printable, replacing_folder, write_text
from face_attributes.data import celeba
from face_attributes.monitoring import late_labels
from face_attributes.monitoring.late_labels import LateLabels

MINIMUM = 100  # images: fewer wait for more
_LIST = f"{celeba.ATTRIBUTES}.csv"
_AGAIN = re.compile(r"(.+)~(\d+)")
# In a folder that has the name of its scores; see visage_dags.batches
_ARRIVAL = ".visage-arrival"
_SUFFIXES = (".jpg", ".jpeg")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GatherResult:
    """The result: the folder, or None for too few new images, and the number of new images."""

    folder: Path | None
    images: int


def gather(scored: Path, labels: Path, out: Path, name: str) -> GatherResult:
    """Make the folder `out`/`name` of all scored images that have labels and are in no other folder of `out`.

    It is there whole or not at all, and left alone where it is there already. Images are linked, not copied,
    where the file system allows.

    Args:
        scored: a folder for each batch that was scored, with its images. Of `<batch>` and `<batch>~2` from
            before arrivals had names of their own, the later is meant.
        labels: attribute lists, see `late_labels`.
        out: folder of labelled batches that wait to become training data.
        name: of the new one.

    A list that is malformed, or contradicts one before it, is left out and named in the log, and the others
    are used. So is a list of which no image was scored.

    Raises:
        DataError: no attribute has a column in every list, or a file is in the place of the folder.

    """
    folder = out / name
    if folder.is_file():
        raise DataError(f"{folder}: a file, where the folder of a labelled batch belongs; move it away")
    if folder.exists():
        return GatherResult(folder, len(_images_of(folder)))
    files = late_labels.files_in([labels]) if labels.is_dir() else []
    late_labels.name_unread([labels])
    lists = dict(_readable(files))
    if not lists:
        return GatherResult(None, 0)
    attributes = _common(labels, list(lists.values()))
    truths = LateLabels(lists, attributes)
    present = {image for batch in out.glob("*") for image in _images_of(batch)} if out.is_dir() else set()
    images = dict(_images(scored))
    for path, example in truths.unused(images).items():
        log.info(
            "labels: %s: no scored image has one of its labels, such as that of %s",
            printable(str(path)),
            printable(example),
        )
    doubtful = _doubtful(images, truths)
    if doubtful:
        log.warning(
            "gather: %d labels are left out, such as that of %s: more than one batch of that name has such "
            "an image; name the batch as its folder is called, with ~2",
            len(doubtful),
            printable(min(doubtful)),
        )
    labelled = [
        (image, path, truth)
        for image, path in images.items()
        if image not in present | doubtful and (truth := truths.find(image)) is not None
    ]
    if len(labelled) < MINIMUM:
        return GatherResult(None, len(labelled))
    with replacing_folder(folder) as partial:
        rows, sources = [["image_id", *attributes]], [["image_id", "source"]]
        for number, (image, path, truth) in enumerate(labelled, start=1):
            suffix = path.suffix.lower()
            own = f"{number:06d}{suffix if suffix in _SUFFIXES else _SUFFIXES[0]}"
            _link(path, partial / own)
            rows.append([own, *_signs(truth)])
            sources.append([own, image])
        _write_table(partial / _LIST, rows)
        _write_table(partial / celeba.SOURCES, sources)
    return GatherResult(folder, len(labelled))


def _readable(files: Iterable[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Yield the lists that can be read, with the names of their columns."""
    for path in files:
        try:
            yield path, celeba.read_attributes(path, nested=True)[0]
        except DataError as error:
            late_labels.name_left_out(error)


def _common(labels: Path, columns: list[list[str]]) -> list[str]:
    """Return the attributes that every list has a column for, in the order of the first."""
    common = [name for name in columns[0] if all(name in some for some in columns)]
    if not common:
        raise DataError(f"{labels}: no attribute has a column in every list")
    return common


def _doubtful(images: Collection[str], truths: LateLabels) -> set[str]:
    """Return labelled images `<batch>/<path>` of which `<batch>~2` or another arrival has one too.

    The list may mean either of them, unless it names the other one as well.
    """
    doubtful: set[str] = set()
    for image in images:
        batch, _, path = image.partition("/")
        again = _AGAIN.fullmatch(batch)
        if again and truths.find(image) is None and f"{again[1]}/{path}" in images:
            doubtful.add(f"{again[1]}/{path}")
    return {image for image in doubtful if truths.find(image) is not None}


def _images(scored: Path) -> Iterator[tuple[str, Path]]:
    """Yield `<batch>/<path>` and the file of each image that was scored."""
    latest: dict[str, tuple[int, Path]] = {}
    for folder in scored.iterdir() if scored.is_dir() else ():
        if not is_text(folder.name):
            log.warning("%s: left out: its name is not UTF-8; rename it", printable(str(folder)))
            continue
        again = None if (folder / _ARRIVAL).exists() else _AGAIN.fullmatch(folder.name)
        batch, number = (again[1], int(again[2])) if again else (folder.name, 1)
        if folder.is_dir() and number > latest.get(batch, (0, folder))[0]:
            latest[batch] = number, folder
    for batch, (_, folder) in sorted(latest.items()):
        for path in sorted(below(folder, _left_out)):
            name = path.relative_to(folder)
            if (
                is_text(name.as_posix())
                and path.is_file()
                and not path.is_symlink()
                and not any(part.startswith(".") for part in name.parts)
            ):
                yield f"{batch}/{name.as_posix()}", path


def _left_out(error: OSError) -> None:
    log.warning("%s: left out: %s", printable(str(error.filename)), error.strerror)


def _images_of(folder: Path) -> list[str]:
    """Return the sources of a gathered folder, or nothing for a folder that was made by hand."""
    return list(celeba.read_sources(folder).values())


def _write_table(path: Path, rows: Iterable[Iterable[str]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    write_text(path, stream.getvalue())


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _signs(truth: np.ndarray) -> list[str]:
    return ["1" if value else "-1" for value in truth]
