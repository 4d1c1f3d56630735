"""Late labels: true attributes of images that arrived after scoring.

A file `<batch>.csv` (or .txt) in the flavours of CelebA's attribute list names the images of that batch by
their paths within it; a file of any other name, and that one too, may name an image as `<batch>/<path>`.
"""

import logging
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_attributes.common.errors import DataError
from face_attributes.common.files import printable
from face_attributes.data import celeba

_SUFFIXES = (".csv", ".txt")
_MOST_NAMED = 20

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
            files.update(path for path in place.iterdir() if _fault(path) is None)
        elif place.is_file():
            files.add(place)
        else:
            raise DataError(f"{place}: no such file or folder")
    return sorted(files)


def name_unread(places: Iterable[Path]) -> None:
    """Log the entries of the folders among `places` that `files_in` leaves out, or the first of them."""
    for place in places:
        entries = sorted(place.iterdir()) if place.is_dir() else ()
        faults = [(path, fault) for path in entries if (fault := _fault(path))]
        for path, fault in faults[:_MOST_NAMED]:
            log.warning("labels: %s is not read: %s", printable(str(path)), fault)
        if len(faults) > _MOST_NAMED:
            log.warning("labels: %d more entries of %s are not read", len(faults) - _MOST_NAMED, place)


def name_left_out(error: DataError) -> None:
    """Log why a list is not used."""
    log.error("labels: a list is left out, the others are not: %s", printable(str(error)))


def _fault(path: Path) -> str | None:
    """Return the reason why something in a folder is no list, or None if it is one by its name."""
    if path.is_dir():
        return "it is a folder; put the lists themselves here"
    if path.name.startswith("."):
        return "its name begins with a dot"
    if path.suffix.lower() not in _SUFFIXES:
        return f"its name does not end in {' or '.join(_SUFFIXES)}"
    return None


def _composed(name: str) -> str:
    """Return the name as most systems write it: that of a file of macOS may have its accents apart."""
    return unicodedata.normalize("NFC", name)


class _ContradictionError(DataError):
    """Two labels of one image differ."""


class LateLabels:
    """The labels of all lists, by image; as many as the lists have lines.

    A list that is malformed, lacks an attribute or contradicts an earlier one is logged and left out.

    Attributes:
        left_out: The reason for each list that was left out.
        contradictions: Those among them that name another list. Nobody knows which of the two is wrong.

    """

    def __init__(self, files: Iterable[Path], attributes: Sequence[str]) -> None:
        self._attributes = attributes
        self._by_name: dict[str, Label] = {}
        self._count = 0
        self.left_out: list[str] = []
        self.contradictions: list[str] = []
        for path in files:
            try:
                self._add(path)
            except DataError as error:
                name_left_out(error)
                self.left_out.append(printable(str(error)))
                if isinstance(error, _ContradictionError):
                    self.contradictions.append(self.left_out[-1])

    def __len__(self) -> int:
        return self._count

    def _add(self, path: Path) -> None:
        """Add the labels of a list: all of them, or none."""
        columns, ids, values = celeba.read_attributes(path, nested=True)
        missing = [name for name in self._attributes if name not in columns]
        if missing:
            raise DataError(f"{path}: no column for {missing[0]}, which the model predicts")
        labels: dict[str, Label] = {}
        for name, truth in zip(
            ids, values[:, [columns.index(name) for name in self._attributes]], strict=True
        ):
            own = f"{path.stem}/{name.removeprefix(f'{path.stem}/')}"
            for known in dict.fromkeys(map(_composed, [own, name] if "/" in name else [own])):
                label = labels.setdefault(known, Label(truth, path))
                self._compare(known, label, truth, path)
                if known in self._by_name:
                    self._compare(known, self._by_name[known], truth, path)
        self._by_name |= {name: label for name, label in labels.items() if name not in self._by_name}
        self._count += len(ids)

    def unused(self, images: Iterable[str]) -> dict[Path, str]:
        """Return the lists of which no label is of one of `images`, with one of their names."""
        lists = {label.source: name for name, label in reversed(self._by_name.items())}
        for image in images:
            if label := self._by_name.get(_composed(image)):
                lists.pop(label.source, None)
        return lists

    def find(self, name: str) -> np.ndarray | None:
        """Return the true attributes (A,) of the image `<batch>/<path>`, or None without a label."""
        label = self._by_name.get(_composed(name))
        return None if label is None else label.truth

    @staticmethod
    def _compare(name: str, before: Label, truth: np.ndarray, source: Path) -> None:
        if np.array_equal(before.truth, truth):
            return
        if before.source == source:
            raise DataError(f"{source}: labels {name} twice and differently; remove a label")
        raise _ContradictionError(
            f"{source}: contradicts {before.source} about {name}; correct or remove a label"
        )
