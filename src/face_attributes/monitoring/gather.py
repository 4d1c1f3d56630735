"""Gather: scored images whose true attributes came to be known, as a folder that `append` takes.

A model should learn from the images that it scored. A gathered batch never changes: images whose labels
arrive later go to the next batch.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_attributes.common.errors import DataError
from face_attributes.common.files import replacing_folder
from face_attributes.data import celeba
from face_attributes.monitoring import late_labels
from face_attributes.monitoring.late_labels import LateLabels

MINIMUM = 100  # images: fewer wait for more
_LIST = f"{celeba.ATTRIBUTES}.csv"
_SOURCES = "gathered.csv"
_AGAIN = re.compile(r"(.+)~(\d+)")


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
        scored: a folder for each batch that was scored, with its images; of `<batch>` and `<batch>~2`, the
            same name used twice, the later is meant.
        labels: attribute lists, see `late_labels`.
        out: folder of labelled batches that wait to become training data.
        name: of the new one.

    Raises:
        DataError: a list is malformed, or two lists contradict each other.

    """
    folder = out / name
    if folder.exists():
        return GatherResult(folder, len(_images_of(folder)))
    lists = late_labels.files_in([labels]) if labels.is_dir() else []
    if not lists:
        return GatherResult(None, 0)
    attributes = _common(lists)
    truths = LateLabels(lists, attributes)
    present = {image for batch in out.glob("*") for image in _images_of(batch)} if out.is_dir() else set()
    labelled = [
        (image, path, truth)
        for image, path in _images(scored)
        if image not in present and (truth := truths.find(image)) is not None
    ]
    if len(labelled) < MINIMUM:
        return GatherResult(None, len(labelled))
    with replacing_folder(folder) as partial:
        rows, sources = [], ["image_id,source"]
        for number, (image, path, truth) in enumerate(labelled, start=1):
            own = f"{number:06d}{path.suffix.lower()}"
            _link(path, partial / own)
            rows.append(",".join([own, *_signs(truth)]))
            sources.append(f"{own},{image}")
        (partial / _LIST).write_text("\n".join([",".join(["image_id", *attributes]), *rows]) + "\n")
        (partial / _SOURCES).write_text("\n".join(sources) + "\n")
    return GatherResult(folder, len(labelled))


def _common(lists: list[Path]) -> list[str]:
    """Return the attributes that every list has a column for, in the order of the first."""
    columns = [celeba.read_attributes(path, nested=True)[0] for path in lists]
    common = [name for name in columns[0] if all(name in some for some in columns)]
    if not common:
        raise DataError(f"{lists[0].parent}: no attribute has a column in every list")
    return common


def _images(scored: Path) -> Iterator[tuple[str, Path]]:
    """Yield `<batch>/<path>` and the file of each image that was scored."""
    latest: dict[str, tuple[int, Path]] = {}
    for folder in scored.iterdir() if scored.is_dir() else ():
        again = _AGAIN.fullmatch(folder.name)
        batch, number = (again[1], int(again[2])) if again else (folder.name, 1)
        if folder.is_dir() and number > latest.get(batch, (0, folder))[0]:
            latest[batch] = number, folder
    for batch, (_, folder) in sorted(latest.items()):
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if (
                path.is_file()
                and not path.is_symlink()
                and not any(part.startswith(".") for part in name.parts)
            ):
                yield f"{batch}/{name.as_posix()}", path


def _images_of(folder: Path) -> list[str]:
    """Return the sources of a gathered folder, or nothing for a folder that was made by hand."""
    listing = folder / _SOURCES
    if not listing.is_file():
        return []
    # The name of an image may have a comma in it, that of its copy has none
    return [line.partition(",")[2] for line in listing.read_text("utf-8").splitlines()[1:]]


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _signs(truth: np.ndarray) -> list[str]:
    return ["1" if value else "-1" for value in truth]
