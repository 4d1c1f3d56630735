import cv2
import numpy as np
import pytest

from face_attributes import images
from face_attributes.errors import ImageError


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


def test_missing_and_huge_files(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        images.read(tmp_path / "none.jpg")
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(ImageError, match="larger than 4 MiB"):
        images.read(huge)


@pytest.mark.parametrize("size", [32, 64, 96])
def test_two_matrix_products_do_what_shrinking_does(jpeg, size):
    image = images.decode(jpeg(1))
    rows, columns = images.area_matrix(218, size), images.area_matrix(178, size)
    product = np.einsum("ih,hwc,jw->ijc", rows, image.astype(np.float32), columns, optimize=True)
    assert np.abs(product - images.shrink(image, size)).max() <= 0.51  # shrinking rounds to whole numbers


def test_rows_of_the_area_matrix_are_means():
    matrix = images.area_matrix(178, 64)
    assert matrix.shape == (64, 178)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=0), 64 / 178, rtol=1e-5)
