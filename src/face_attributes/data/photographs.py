"""Decode a photograph as it comes: JPEG, PNG, WebP or HEIC, upright and in sRGB.

Its size is read first, so that too large an image is refused before its pixels take memory.
"""

import io
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import cv2
import numpy as np
import simplejpeg

from face_attributes.common.errors import ImageError, first_line

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 32 << 20
MAX_PIXELS = 50_000_000  # a phone's largest photographs have 48 million
MAX_WHOLE = 25_000_000  # pixels of a PNG or WebP: its decoder cannot halve it, and takes 16 bytes for each
MAX_SIDE = 65_535  # pixels, as in a JPEG: an image of one column takes ten times the memory of a square one
MAX_SCANS = 64  # of a JPEG: cameras write ten, and each one costs the time of a whole decoding
LONGEST = 4096  # pixels, the longer side of an image that is decoded

_JPEG = b"\xff\xd8"
_START_OF_SCAN = b"\xff\xda"
_METADATA = (b"Exif\0\0", b"ICC_PROFILE\0")  # the marks of a JPEG's orientation and color profile
_COLORS = ("YCbCr", "RGB", "Gray")  # decoded by simplejpeg, which is faster; the rest by Pillow
_FORMATS = ("JPEG", "PNG", "WEBP", "HEIF")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
_HEIC_LIBRARIES = ("pi_heif", "pillow_heif")
_ORIENTATION = 0x0112  # of EXIF
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}


def decode(content: bytes) -> np.ndarray:
    """Decode a photograph: turned upright, in sRGB, on white where it is transparent.

    Args:
        content: The content of a file.

    Returns:
        uint8 array of shape (height, width, 3), RGB. An image with a side over LONGEST is shrunk.

    Raises:
        ImageError: The bytes are no such image, are truncated or corrupt, or the image is too large.

    """
    if not content:
        raise ImageError("empty file")
    if len(content) > MAX_BYTES:
        raise ImageError(f"larger than {MAX_BYTES >> 20} MiB")
    pixels = _decode_jpeg(content) if content.startswith(_JPEG) else _decode_others(content)
    longest = max(pixels.shape[:2])
    if longest > LONGEST:
        size = tuple(max(1, round(side * LONGEST / longest)) for side in reversed(pixels.shape[:2]))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(pixels)


def _check_size(width: int, height: int, most: int = MAX_PIXELS) -> None:
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{width}x{height} pixels, a side of more than {MAX_SIDE}")
    if width * height > most:
        raise ImageError(f"{width}x{height} pixels, more than {most // 10**6} million")


def _decode_jpeg(content: bytes) -> np.ndarray:
    try:
        *size, color, _ = simplejpeg.decode_jpeg_header(content)
        height, width = map(int, size)
    except ValueError:
        raise ImageError("truncated or corrupt JPEG: no readable header") from None
    _check_size(width, height)
    # A 0xff among the pixels is followed by 0x00, so this finds the scans, and those of embedded previews
    if content.count(_START_OF_SCAN) > MAX_SCANS:
        raise ImageError(f"more than {MAX_SCANS} scans in a JPEG; save it again with another program")
    if color not in _COLORS:
        return _decode_others(content)
    # The decoder itself can halve an image, and again, while that leaves it no smaller than this
    smallest = min(1, 0.75 * LONGEST / max(height, width))
    try:
        pixels = simplejpeg.decode_jpeg(
            content,
            colorspace="RGB",
            fastdct=False,
            fastupsample=False,
            strict=True,
            min_height=round(height * smallest),
            min_width=round(width * smallest),
        )
    except ValueError as error:
        raise ImageError(f"truncated or corrupt JPEG: {lower_first(str(error))}") from None
    if not any(mark in content for mark in _METADATA):
        return pixels
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            profile, orientation = image.info.get("icc_profile"), image.getexif().get(_ORIENTATION, 1)
    except Exception:  # an unreadable comment does not make the pixels unreadable, which are decoded by now
        return pixels
    if profile and not _is_srgb(profile):
        pixels = np.asarray(_to_srgb(Image.fromarray(pixels), profile))
    return _UPRIGHT.get(orientation, lambda upright: upright)(pixels)


def _decode_others(content: bytes) -> np.ndarray:
    # Imported here: an aligned JPEG needs no Pillow, and a runtime of an earlier release has none
    from PIL import Image

    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        _add_heic()
    try:
        with Image.open(io.BytesIO(content), formats=_known(_FORMATS)) as image:
            name = image.format
            _check_size(*image.size, MAX_WHOLE if name in ("PNG", "WEBP") else MAX_PIXELS)
            profile, orientation = image.info.get("icc_profile"), image.getexif().get(_ORIENTATION, 1)
            pixels = np.asarray(_to_rgb(image, profile))
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError("not a JPEG, PNG, WebP or HEIC") from None
    except Image.DecompressionBombError:
        raise ImageError(f"more than {MAX_PIXELS // 10**6} million pixels") from None
    except Exception as error:  # the decoders have no common class of errors
        raise ImageError(f"truncated or corrupt image: {lower_first(first_line(error))}") from None
    # The library for HEIC turns images itself
    return pixels if name == "HEIF" else _UPRIGHT.get(orientation, lambda upright: upright)(pixels)


def _add_heic() -> None:
    """Make Pillow read HEIC.

    Raises:
        ImageError: Neither library is installed.

    """
    library = next((name for name in _HEIC_LIBRARIES if find_spec(name)), None)
    if library is None:
        raise ImageError("HEIC, which takes pip install pi-heif; or save it as a JPEG")
    import_module(library).register_heif_opener()


def _known(formats: tuple[str, ...]) -> list[str]:
    from PIL import Image

    Image.init()
    return [name for name in formats if name in Image.OPEN]


def _to_rgb(image: "Image", profile: bytes | None) -> "Image":
    """Return an image of any mode as sRGB. The background of a transparent image is white."""
    from PIL import Image

    if image.mode.startswith("I"):  # grey in 16 bits
        grey, clear = np.asarray(image), image.info.get("transparency")
        eight = (grey.astype(np.uint32) >> 8).astype(np.uint8)
        return Image.fromarray(eight if clear is None else np.where(grey == clear, 255, eight)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGB", image.size, "white")
        background.paste(image, mask=image)
        image = background
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    if profile and not _is_srgb(profile):
        image = _to_srgb(image, profile)
    return image.convert("RGB")


def _is_srgb(profile: bytes) -> bool:
    return b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile


def _to_srgb(image: "Image", profile: bytes) -> "Image":
    """Return the image in sRGB, or as it is if the profile is broken or one of other colors."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image  # as viewers do
    return image if converted is None else converted


def lower_first(text: str) -> str:
    """Return the message of a library as the end of a line of ours."""
    text = text.strip().rstrip(".")
    return text[:1].lower() + text[1:]
