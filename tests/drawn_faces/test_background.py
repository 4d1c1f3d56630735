import numpy as np

from drawn_faces.background import background
from drawn_faces.random_streams import RandomStreams

IMAGES = [background(RandomStreams(0, index)) for index in range(60)]


def test_backgrounds_are_images_of_the_aligned_size() -> None:
    assert all(image.shape == (218, 178, 3) and image.dtype == np.uint8 for image in IMAGES)


def test_backgrounds_are_out_of_focus_and_not_garish() -> None:
    for image in IMAGES:
        steps = np.abs(np.diff(image.astype(int), axis=1)).max(axis=2)
        assert np.percentile(steps, 99) < 20
        assert np.ptp(image.astype(int), axis=2).mean() < 90


def test_backgrounds_differ() -> None:
    means = np.stack([image.mean(axis=(0, 1)) for image in IMAGES])
    assert means.std(axis=0).min() > 20
