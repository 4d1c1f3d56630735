import os
import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from face_attributes.common.errors import ImageError
from face_attributes.data import images


def sparse(path):
    with path.open("wb") as file:
        file.truncate(5 << 30)


def bound(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


def test_decodes_to_rgb(jpeg):
    blue = np.zeros((218, 178, 3), np.uint8)
    blue[:, :, 2] = 255
    encoded = cv2.imencode(".jpg", cv2.cvtColor(blue, cv2.COLOR_RGB2BGR))[1].tobytes()
    decoded = images.decode(encoded)
    assert decoded.shape == (218, 178, 3)
    assert decoded.dtype == np.uint8
    assert decoded[100, 100, 2] > 250
    assert decoded[100, 100, 0] < 5


def test_grey_images_are_decoded_too():
    grey = cv2.imencode(".jpg", np.full((218, 178), 90, np.uint8))[1].tobytes()
    assert images.decode(grey).shape == (218, 178, 3)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda jpeg: b"", "empty file"),
        (lambda jpeg: b"hello", "not a JPEG"),
        (lambda jpeg: b"\x89PNG\r\n\x1a\n" + jpeg, "not a JPEG"),
        (lambda jpeg: jpeg[:3], "no readable header"),
        (lambda jpeg: jpeg[: len(jpeg) // 2], "truncated or corrupt JPEG: premature end of JPEG file"),
        (lambda jpeg: jpeg[:-2], "premature end of JPEG file"),
        (lambda jpeg: jpeg[: len(jpeg) // 2] + b"\xff\xd9", "premature end of data segment"),
    ],
)
def test_what_is_wrong_with_a_file(jpeg, damage, reason):
    with pytest.raises(ImageError, match=reason):
        images.decode(damage(jpeg()))


def test_another_size_is_refused(jpeg):
    with pytest.raises(ImageError, match="178x200 pixels, not 178x218"):
        images.decode(jpeg(height=200))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "a link, not a file"),
        (lambda path: path.symlink_to(path.parent / "none"), "a link, not a file"),
        (lambda path: path.symlink_to(path), "a link, not a file"),
        (lambda path: path.mkdir(), "not a regular file"),
        (bound, "not a regular file"),
        (sparse, "larger than 32 MiB"),
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, make, reason):
    path = tmp_path / "face.jpg"
    make(path)
    began = time.monotonic()
    with pytest.raises(ImageError, match=reason):
        images.read(path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_refused(name):
    with pytest.raises(ImageError, match=r"not a regular file|cannot be read"):
        images.read(Path(name))


def test_a_file_that_claims_to_be_empty_is_read_no_further_than_allowed():
    """As those of /proc: their size is 0."""
    assert Path("/proc/self/status").stat().st_size == 0
    assert images.read(Path("/proc/self/status"))


def test_missing_and_huge_files(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        images.read(tmp_path / "none.jpg")
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(33 << 20)
    with pytest.raises(ImageError, match="larger than 32 MiB"):
        images.read(huge)


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 6])
def test_a_pixel_of_a_shrunk_image_is_the_mean_of_a_square(jpeg, factor):
    image = images.decode(jpeg(1))
    small = images.shrink(image, factor)
    assert small.shape == (*images.shrunk_shape(factor), 3)
    assert small.dtype == np.uint8
    for row, column in [(0, 0), (7, 3), (small.shape[0] - 1, small.shape[1] - 1)]:
        square = image[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        np.testing.assert_allclose(small[row, column], square.mean(axis=(0, 1)), atol=0.51)


def test_what_fills_no_square_is_left_out():
    assert images.shrunk_shape(3) == (72, 59)
    image = np.zeros((218, 178, 3), np.uint8)
    image[:, 177:] = image[216:] = 255
    assert not images.shrink(image, 3).any()
