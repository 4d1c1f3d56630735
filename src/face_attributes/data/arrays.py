"""The prepared arrays for training, mapped into memory."""

import json
import mmap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from face_attributes.common.errors import DataError
from face_attributes.data.images import shrunk_shape

INFO = "prepared.json"


def _images_file(folder: Path, part: str) -> Path:
    return folder / f"{part}_images.npy"


def _labels_file(folder: Path, part: str) -> Path:
    return folder / f"{part}_labels.npy"


@dataclass(frozen=True)
class Info:
    """A description of prepared arrays.

    Attributes:
        attributes: names of the A attributes.
        shrink: the factor by which the images were shrunk.
        train: number of training images.
        validation: number of validation images.
        left_out: number of photographs that are in none of the parts, as one of them has them already.
        digest: of all that the arrays hold.

    """

    attributes: tuple[str, ...]
    shrink: int
    train: int
    validation: int
    left_out: int
    digest: str

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        return shrunk_shape(self.shrink)

    def to_json(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Part:
    """Images as uint8 (N, height, width, 3) RGB and labels as uint8 (N, A), 0 or 1."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Part":
        return Part(self.images[:count], self.labels[:count])

    def release(self) -> None:
        """Give back the memory of images that were read; they stay in the system's cache of the file."""
        owner = self.images
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, mmap.mmap):
            owner.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Prepared:
    """The training and the validation part."""

    info: Info
    train: Part
    validation: Part


class PartWriter:
    """Writes the arrays of one part, image by image, with nothing but the current one in memory.

    A context manager; `rows` images must have been appended when it ends well.
    """

    def __init__(self, folder: Path, part: str, rows: int, shape: tuple[int, int], attributes: int) -> None:
        self._left = rows
        self._images = _begin(_images_file(folder, part), (rows, *shape, 3))
        self._labels = _begin(_labels_file(folder, part), (rows, attributes))

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._images.close()
        self._labels.close()
        assert failure or not self._left

    def append(self, image: np.ndarray, labels: np.ndarray) -> None:
        """Append a uint8 image (height, width, 3) and its bool labels (A,)."""
        self._images.write(image.tobytes())
        self._labels.write(labels.astype(np.uint8).tobytes())
        self._left -= 1


def _begin(path: Path, shape: tuple[int, ...]) -> BinaryIO:
    file = path.open("wb")
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
    return file


def load_part(folder: Path, part: str) -> Part:
    """Map the arrays of one part into memory."""
    return Part(np.load(_images_file(folder, part), mmap_mode="r"), np.load(_labels_file(folder, part)))


def load(folder: Path) -> Prepared:
    """Map prepared arrays into memory.

    Raises:
        DataError: there are none, or they are damaged.

    """
    try:
        recorded = json.loads((folder / INFO).read_text(encoding="utf-8"))
        info = Info(**{**recorded, "attributes": tuple(recorded["attributes"])})
        train, validation = (load_part(folder, part) for part in ("train", "validation"))
        for part, rows in ((train, info.train), (validation, info.validation)):
            shapes = (rows, *info.shape, 3), (rows, len(info.attributes))
            if (part.images.shape, part.labels.shape) != shapes:
                raise ValueError(f"shapes are {part.images.shape} and {part.labels.shape}")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; run the stage prepare first") from None
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise DataError(f"{folder}: damaged ({error}); run the stage prepare again") from None
    return Prepared(info, train, validation)
