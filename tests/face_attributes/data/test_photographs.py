"""Photographs with four colors in their corners, so that a test sees how each was turned and converted."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from face_attributes.common.errors import ImageError
from face_attributes.data import images, photographs
from face_attributes.data.photographs import LONGEST, MAX_BYTES, decode

CORNERS = np.array([[(220, 40, 40), (40, 200, 40)], [(40, 40, 220), (230, 230, 60)]], np.uint8)


def picture(width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(CORNERS).resize((width, height), Image.Resampling.NEAREST)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def corners(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return pixels[[[height // 4] * 2, [-height // 4] * 2], [[width // 4, -width // 4]] * 2].astype(int)


def gone(pixels: np.ndarray, expected: np.ndarray = CORNERS, most: int = 12) -> bool:
    return bool(np.abs(corners(pixels) - expected).max() > most)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_photographs_of_all_formats(kind, options):
    pixels = decode(saved(picture(), kind, **options))
    assert (pixels.shape, pixels.dtype) == ((40, 60, 3), np.uint8)
    assert pixels.flags.c_contiguous
    assert not gone(pixels)


def test_heic():
    pixels = decode((Path(__file__).parent / "face.heic").read_bytes())
    assert pixels.shape == (218, 178, 3)
    assert pixels.std() > 20


def test_heic_without_its_library_has_a_remedy(monkeypatch):
    monkeypatch.setattr(photographs, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match="pip install pi-heif"):
        decode((Path(__file__).parent / "face.heic").read_bytes())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_turned_as_viewers_do(kind, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(picture(), kind, exif=exif, **{"quality": 95, "subsampling": 0} if kind == "JPEG" else {})
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    pixels = decode(content)
    assert pixels.shape == expected.shape
    assert not gone(pixels, corners(expected))


def wide_gamut() -> bytes:
    """Return a profile whose red and green are swapped, so that nobody can overlook that it was applied."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(struct.unpack(">I", profile[128:132])[0]):
        start = 132 + 12 * index
        swapped = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(bytes(profile[start : start + 4]))
        if swapped:
            profile[start : start + 4] = swapped
    return (
        bytes(profile)
        .replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
        .replace(b"sRGB", b"test")
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_color_profile_is_converted_to_srgb(kind):
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    pixels = decode(saved(picture(), kind, icc_profile=wide_gamut(), **options))
    assert not gone(pixels, CORNERS[..., [1, 0, 2]], 25)


@pytest.mark.parametrize("profile", [b"junk", b"\0" * 200])
def test_a_broken_profile_is_ignored(profile):
    assert not gone(decode(saved(picture(), "PNG", icc_profile=profile)))


def test_a_profile_of_srgb_changes_no_bit():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain, tagged = (decode(saved(picture(), "JPEG", **extra)) for extra in ({}, {"icc_profile": srgb}))
    assert np.array_equal(plain, tagged)


def test_cmyk_grey_palette_and_sixteen_bits():
    assert not gone(decode(saved(picture().convert("CMYK"), "JPEG", quality=95)), CORNERS, 30)
    grey = np.asarray(picture().convert("L"))
    for content in (
        saved(Image.fromarray(grey), "PNG"),
        saved(Image.fromarray(grey), "JPEG", quality=95),
        saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
    ):
        assert not gone(decode(content), corners(np.repeat(grey[..., None], 3, axis=2)))
    assert not gone(decode(saved(picture().convert("P", palette=Image.Palette.ADAPTIVE), "PNG")))
    assert decode(saved(Image.new("1", (50, 50), 1), "PNG")).min() == 255


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_the_background_of_a_transparent_image_is_white(mode):
    clear = Image.new("RGBA", (50, 50), (10, 20, 30, 0))
    content = saved(clear.convert(mode), "PNG", **({"transparency": 0} if mode == "P" else {}))
    assert decode(content).min() == 255


def test_the_transparent_grey_of_sixteen_bits_is_white():
    grey = np.full((50, 50), 257 * 70, np.uint16)
    grey[:, 25:] = 257 * 90
    pixels = decode(saved(Image.fromarray(grey), "PNG", transparency=257 * 70))
    assert np.unique(pixels[:, :25]) == 255
    assert np.unique(pixels[:, 25:]) == 90


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "MPO"])
def test_the_first_of_several_pictures_counts(kind):
    black = Image.new("RGB", (60, 40))
    options = {} if kind == "PNG" else {"quality": 95}
    assert not gone(
        decode(saved(picture(), kind, save_all=True, append_images=[black] * 3, **options)), most=40
    )


def test_an_aligned_jpeg_has_the_pixels_that_it_has_in_a_shard(jpeg):
    assert np.array_equal(decode(jpeg(3)), images.decode(jpeg(3)))
    comment = b"\xff\xe1\x00\x0aExif\0\0hi"
    assert np.array_equal(decode(jpeg(3)[:2] + comment + jpeg(3)[2:]), images.decode(jpeg(3)))


def test_a_large_photograph_is_shrunk():
    content = saved(picture(8000, 4000), "JPEG")
    assert max(decode(content).shape) == 4000  # by the decoder, to half
    assert decode(saved(picture(6000, 60), "PNG")).shape == (41, LONGEST, 3)


def png_of(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and has no pixels."""
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def jpeg_of(jpeg: bytes, width: int, height: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


@pytest.mark.parametrize("size", [(5_000, 5_001), (65_000, 65_000), (1, 50_000_000)])
def test_too_large_an_image_is_refused_before_its_pixels_take_memory(jpeg, size):
    import tracemalloc

    width, height = size
    jpegs = [jpeg_of(jpeg(), min(2 * width, 65_000), height)] if height < 1 << 16 else []
    for content, most in ((png_of(*size), 25), *((content, 50) for content in jpegs)):
        tracemalloc.start()
        with pytest.raises(ImageError, match=rf"more than ({most}|50) million|a side of more than 65535"):
            decode(content)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
        tracemalloc.stop()


def test_too_large_a_file_is_refused():
    with pytest.raises(ImageError, match="larger than 32 MiB"):
        decode(b"\xff\xd8" + bytes(MAX_BYTES))


def test_a_jpeg_of_many_scans_is_refused(jpeg):
    with pytest.raises(ImageError, match="more than 64 scans"):
        decode(jpeg()[:-2] + b"\xff\xda\x00\x02" * 100 + jpeg()[-2:])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not a JPEG, PNG, WebP or HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a JPEG, PNG"),
        (saved(picture(), "GIF"), "not a JPEG, PNG"),
        (saved(picture(), "TIFF"), "not a JPEG, PNG"),
        (saved(picture(), "JPEG")[:-40], "truncated or corrupt JPEG"),
        (saved(picture(), "PNG")[:-40], "truncated or corrupt image"),
        (saved(picture(), "WEBP")[:-40], "truncated or corrupt image"),
        (png_of(50, 50), "truncated or corrupt image"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "not a JPEG, PNG, WebP or HEIC|truncated or corrupt"),
    ],
)
def test_what_is_wrong_with_a_file(content, reason):
    with pytest.raises(ImageError, match=reason):
        decode(content)


def test_no_damage_escapes_as_another_error(jpeg):
    """Damage single bytes and cut each format: every outcome is an image or an ImageError."""
    random = np.random.default_rng(1)
    contents = [jpeg(1), *(saved(picture(), kind) for kind in ("PNG", "WEBP"))]
    contents += [saved(picture(), "JPEG", icc_profile=wide_gamut()), saved(picture().convert("CMYK"), "JPEG")]
    contents.append((Path(__file__).parent / "face.heic").read_bytes())
    outcomes = set()
    for content in contents:
        for _ in range(40):
            damaged = bytearray(content[: random.integers(len(content) // 2, len(content) + 1)])
            for place in random.integers(0, len(damaged), 3):
                damaged[place] = random.integers(256)
            try:
                outcomes.add(decode(bytes(damaged)).ndim)
            except ImageError as error:
                outcomes.add("refused in a line" if str(error).isprintable() else str(error))
    assert outcomes == {3, "refused in a line"}
