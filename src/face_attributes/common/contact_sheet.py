"""Contact sheets: faces side by side, each with its identifier and its labels beneath."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from face_attributes.common.files import replacing

_LINE, _MARGIN = 13, 6  # pixels
_INK, _PAPER = (40, 40, 40), 250
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88)


def sheet(
    images: Sequence[np.ndarray],
    ids: Sequence[str],
    labels: Sequence[Sequence[str]],
    path: Path,
    columns: int = 6,
) -> None:
    """Write a picture with each face, its identifier and its labels, one a line, `columns` faces in a row.

    Args:
        images: RGB uint8 arrays (height, width, 3), all of one size.
        ids: one identifier for each image.
        labels: the labels to list under each image.
        path: the file to write, a JPEG if its name ends so, else a PNG; folders on the way are made.
        columns: how many faces stand side by side.

    Raises:
        ValueError: no images, sequences of different lengths, or images of different sizes.

    """
    if not len(images) or not len(images) == len(ids) == len(labels):
        raise ValueError(
            f"a sheet needs as many images ({len(images)}) as ids ({len(ids)}) and labels ({len(labels)})"
        )
    if len({image.shape for image in images}) > 1:
        raise ValueError("a sheet needs images of one size")
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    cell_height = height + _LINE * (2 + max(len(names) for names in labels)) + _MARGIN
    cell_width = width + _MARGIN
    rows = -(-len(images) // columns)
    page = np.full((rows * cell_height + _MARGIN, columns * cell_width + _MARGIN, 3), _PAPER, np.uint8)
    for position, (image, name, names) in enumerate(zip(images, ids, labels, strict=True)):
        row, column = divmod(position, columns)
        top, left = _MARGIN + row * cell_height, _MARGIN + column * cell_width
        page[top : top + height, left : left + width] = image
        for line, text in enumerate([name, *names], start=1):
            _write_line(page, text, (left, top + height + line * _LINE), bold=line == 1)
    flavour = ".jpg" if path.suffix.lower() in (".jpg", ".jpeg") else ".png"
    _, data = cv2.imencode(flavour, cv2.cvtColor(page, cv2.COLOR_RGB2BGR), _JPEG if flavour == ".jpg" else ())
    with replacing(path) as beside:
        beside.write_bytes(data.tobytes())


def _write_line(page: np.ndarray, text: str, corner: tuple[int, int], bold: bool) -> None:
    thickness = 2 if bold else 1
    cv2.putText(page, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, thickness, cv2.LINE_AA)
