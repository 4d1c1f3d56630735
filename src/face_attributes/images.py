"""One aligned photograph: from JPEG bytes to pixels, and down to the size that the network sees.

Collecting, preparing, evaluating and scoring all decode here, so that the same bytes give the same pixels
everywhere.
"""

from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from face_attributes.attributes import HEIGHT, WIDTH
from face_attributes.errors import ImageError

_COLORS = ("YCbCr", "RGB", "Gray")
# A photograph of 178x218 has some 10 kB; a file of many megabytes is not one
_MAX_BYTES = 4 << 20

# Images are decoded in parallel by the callers; threads inside each would only get in each other's way
cv2.setNumThreads(1)


def read(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ImageError: there is no such file, it cannot be read, or it is far too large.

    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ImageError(f"larger than {_MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError("listed, but there is no such file") from None
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from None


def decode(jpeg: bytes) -> np.ndarray:
    """Decode one aligned face.

    Returns:
        uint8 array of shape (218, 178, 3), RGB.

    Raises:
        ImageError: the bytes are no JPEG, are truncated or corrupt, or the image has another size.

    """
    if not jpeg:
        raise ImageError("empty file")
    if not jpeg.startswith(b"\xff\xd8"):
        raise ImageError("not a JPEG")
    try:
        # The header is read first: an image of another size is refused before its pixels take memory
        height, width, color, _ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError:
        raise ImageError("truncated or corrupt JPEG: no readable header") from None
    if (height, width) != (HEIGHT, WIDTH):
        raise ImageError(f"{width}x{height} pixels, not {WIDTH}x{HEIGHT}")
    if color not in _COLORS:
        raise ImageError(f"colours are {color}, not RGB")
    try:
        return simplejpeg.decode_jpeg(jpeg, colorspace="RGB", fastdct=False, fastupsample=False, strict=True)
    except ValueError as error:
        raise ImageError(f"truncated or corrupt JPEG: {_lower_first(str(error))}") from None


def _lower_first(text: str) -> str:
    text = text.strip().rstrip(".")
    return text[:1].lower() + text[1:]


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Return the image as uint8 (size, size, 3): each pixel the mean of the area that it covers."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def area_matrix(source: int, target: int) -> np.ndarray:
    """Return the float32 (target, source) matrix that does along one axis what `shrink` does.

    Row i holds the share of each source pixel in target pixel i; rows sum to 1.
    """
    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(overlap, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
