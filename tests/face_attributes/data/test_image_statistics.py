import cv2
import numpy as np
import pytest

from face_attributes.data import images
from face_attributes.data.image_statistics import STATISTICS, measure


@pytest.fixture
def image(jpeg):
    """Return coloured clouds with some grain."""
    grain = np.random.default_rng(0).normal(0, 12, (218, 178, 1))
    return np.clip(images.decode(jpeg(5)) + grain, 0, 255).astype(np.uint8)


def figures(image):
    return dict(zip(STATISTICS, measure(image), strict=True))


def test_a_flat_grey_image():
    flat = figures(np.full((218, 178, 3), 100, np.uint8))
    assert flat == dict.fromkeys(STATISTICS, 0) | {"brightness": 100}


def test_saturation_is_the_span_of_the_channels():
    assert figures(np.full((218, 178, 3), (200, 50, 80), np.uint8))["saturation"] == 150


def test_warmth_is_how_much_more_red_there_is_than_blue():
    assert figures(np.full((218, 178, 3), (200, 50, 80), np.uint8))["warmth"] == 120
    assert figures(np.full((218, 178, 3), (80, 50, 200), np.uint8))["warmth"] == -120


@pytest.mark.parametrize("deviation", [3, 10])
def test_noise_is_measured_beside_planes_and_edges(deviation):
    plane = np.add.outer(np.linspace(0, 60, 218), np.linspace(60, 90, 178))
    plane[:, 90:] += 40
    clean = np.round(plane).astype(np.uint8)[..., None].repeat(3, 2)
    assert figures(clean)["noise"] < 1
    grain = np.random.default_rng(0).normal(0, deviation, (218, 178, 1))
    noisy = np.clip(plane[..., None] + grain, 0, 255).round().astype(np.uint8).repeat(3, 2)
    assert figures(noisy)["noise"] == pytest.approx(deviation, rel=0.1)


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
