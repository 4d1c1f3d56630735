"""The prepared arrays: what training reads, mapped into memory rather than loaded."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from face_attributes.errors import DataError

INFO = "prepared.json"


def images_file(part: str) -> str:
    return f"{part}_images.npy"


def labels_file(part: str) -> str:
    return f"{part}_labels.npy"


@dataclass(frozen=True)
class Info:
    """What prepared arrays hold: names, side of the images in pixels, counts, and a digest of it all."""

    attributes: tuple[str, ...]
    size: int
    train: int
    validation: int
    digest: str

    def to_json(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Part:
    """Images as uint8 (N, size, size, 3) RGB and labels as uint8 (N, A), 0 or 1."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Part":
        return Part(self.images[:count], self.labels[:count])


@dataclass(frozen=True)
class Prepared:
    """The training and the validation part."""

    info: Info
    train: Part
    validation: Part


def load(folder: Path) -> Prepared:
    """Map prepared arrays into memory.

    Raises:
        DataError: there are none, or they are damaged.

    """
    try:
        found = json.loads((folder / INFO).read_text(encoding="utf-8"))
        info = Info(**{**found, "attributes": tuple(found["attributes"])})
        train, validation = (
            Part(np.load(folder / images_file(part), mmap_mode="r"), np.load(folder / labels_file(part)))
            for part in ("train", "validation")
        )
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; run the stage prepare first") from None
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise DataError(f"{folder}: damaged ({error}); run the stage prepare again") from None
    return Prepared(info, train, validation)
