"""Aligned faces: decode and encode JPEGs of 178x218 pixels, and shrink them to the input size of the network.

Shards hold such JPEGs. `alignment` makes them of photographs, and decodes an aligned one to the same pixels.
"""

from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.common.errors import FileError, ImageError
from face_attributes.common.files import read_regular
from face_attributes.data import photographs

_COLORS = ("YCbCr", "RGB", "Gray")
_QUALITY = 98  # of the JPEGs that are made of aligned faces

# Images are decoded in parallel by the callers; threads inside each would only get in each other's way
cv2.setNumThreads(1)


def read(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ImageError: there is no such file, it cannot be read, is no regular file, or is far too large.

    """
    try:
        return read_regular(path, photographs.MAX_BYTES)
    except FileError as error:
        raise ImageError(str(error)) from None
    except FileNotFoundError:
        raise ImageError("listed, but there is no such file") from None
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from None


def decode(jpeg: bytes, out: np.ndarray | None = None) -> np.ndarray:
    """Decode one aligned face.

    Args:
        jpeg: the content of a file.
        out: contiguous uint8 array (218, 178, 3) to decode into, if there is one.

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
        return simplejpeg.decode_jpeg(
            jpeg, colorspace="RGB", fastdct=False, fastupsample=False, strict=True, buffer=out
        )
    except ValueError as error:
        raise ImageError(f"truncated or corrupt JPEG: {photographs.lower_first(str(error))}") from None


def encode(image: np.ndarray) -> bytes:
    """Return an aligned face, uint8 (218, 178, 3) RGB, as a JPEG that `decode` reads."""
    return simplejpeg.encode_jpeg(image, quality=_QUALITY, colorsubsampling="444", fastdct=False)


def shrunk_shape(factor: int) -> tuple[int, int]:
    """Return height and width in pixels of a shrunk image."""
    return HEIGHT // factor, WIDTH // factor


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Return the image as uint8 (218 // factor, 178 // factor, 3): each pixel the mean of a square of them.

    Lines at the lower and the right edge that fill no whole square are left out. The exported model
    computes the means of whole squares as a convolution, in integers.
    """
    height, width = shrunk_shape(factor)
    whole = image[: height * factor, : width * factor]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
