import cv2
import numpy as np
import pytest

from face_attributes import images
from face_attributes.image_statistics import STATISTICS, measure


@pytest.fixture
def image(jpeg):
    """Return coloured clouds with some grain."""
    grain = np.random.default_rng(0).normal(0, 12, (218, 178, 1))
    return np.clip(images.decode(jpeg(5)) + grain, 0, 255).astype(np.uint8)


def figures(image):
    return dict(zip(STATISTICS, measure(image), strict=True))


def test_a_flat_grey_image():
    flat = figures(np.full((218, 178, 3), 100, np.uint8))
    assert flat == {"brightness": 100, "contrast": 0, "saturation": 0, "sharpness": 0}


def test_saturation_is_the_span_of_the_channels():
    assert figures(np.full((218, 178, 3), (200, 50, 80), np.uint8))["saturation"] == 150


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (lambda image: (image * 0.6).astype(np.uint8), "brightness"),
        (lambda image: (image * 0.3).astype(np.uint8) + 90, "contrast"),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 3), "sharpness"),
        (
            lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
            "saturation",
        ),
    ],
)
def test_what_drift_moves(image, change, moved):
    assert figures(change(image))[moved] < 0.8 * figures(image)[moved]
