"""Late labels: true attributes of images that arrived after scoring.

A file `<batch>.csv` (or .txt) in the flavours of CelebA's attribute list names the images of that batch by
their paths within it; a file of any other name, and that one too, may name an image as `<batch>/<path>`.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_attributes.common.errors import DataError
from face_attributes.common.files import printable
from face_attributes.data import celeba

_SUFFIXES = (".csv", ".txt")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Label:
    """The true attributes of an image, a bool array (A,), and the file with the label."""

    truth: np.ndarray
    source: Path


def files_in(places: Iterable[Path]) -> list[Path]:
    """Return the lists among `places`: files, and those directly in folders.

    Raises:
        DataError: there is no such file or folder.

    """
    files: set[Path] = set()
    for place in places:
        if place.is_dir():
            files.update(
                path
                for path in place.iterdir()
                if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
            )
        elif place.is_file():
            files.add(place)
        else:
            raise DataError(f"{place}: no such file or folder")
    return sorted(files)


def name_unread(places: Iterable[Path]) -> None:
    """Log each file or folder directly in the folders among `places` that `files_in` leaves out."""
    for place in places:
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.is_dir() or path.suffix.lower() not in _SUFFIXES or path.name.startswith("."):
                kinds = " or ".join(_SUFFIXES)
                log.warning(
                    "labels: %s is not read: its name does not end in %s", printable(str(path)), kinds
                )


class LateLabels:
    """The labels of all lists, by image; as many as the lists have lines."""

    def __init__(self, files: Iterable[Path], attributes: Sequence[str]) -> None:
        """Read lists that all have a column for each of `attributes`.

        Raises:
            DataError: a list is malformed or lacks an attribute, or two lists contradict each other.

        """
        self._by_name: dict[str, Label] = {}
        self._count = 0
        for path in files:
            columns, ids, values = celeba.read_attributes(path, nested=True)
            missing = [name for name in attributes if name not in columns]
            if missing:
                raise DataError(f"{path}: no column for {missing[0]}, which the model predicts")
            self._count += len(ids)
            rows = values[:, [columns.index(name) for name in attributes]]
            for name, truth in zip(ids, rows, strict=True):
                self._add(f"{path.stem}/{name.removeprefix(f'{path.stem}/')}", Label(truth, path))
                if "/" in name:
                    self._add(name, Label(truth, path))

    def __len__(self) -> int:
        return self._count

    def find(self, name: str) -> np.ndarray | None:
        """Return the true attributes (A,) of the image `<batch>/<path>`, or None without a label."""
        label = self._by_name.get(name)
        return None if label is None else label.truth

    def _add(self, name: str, label: Label) -> None:
        before = self._by_name.setdefault(name, label)
        if not np.array_equal(before.truth, label.truth):
            raise DataError(
                f"{label.source}: contradicts {before.source} about {name}; correct or remove a label"
            )
