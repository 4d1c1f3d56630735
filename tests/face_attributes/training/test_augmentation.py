import cv2
import numpy as np
import pytest

from face_attributes.training.augmentation import move, moves, relight


@pytest.fixture
def smooth():
    """Return sixty-four symmetric images of coloured clouds."""
    random = np.random.default_rng(0)
    clouds = [
        cv2.resize(random.integers(0, 256, (4, 4, 3), np.uint8), (28, 36), interpolation=cv2.INTER_LINEAR)
        for _ in range(64)
    ]
    half = np.stack(clouds) // 2
    return half + half[:, :, ::-1]


def moved(images, strength, seed=1):
    return move(images, moves(len(images), images.shape[1:3], strength, np.random.default_rng(seed)))


def test_the_seed_decides(smooth):
    assert np.array_equal(moved(smooth, 1.0), moved(smooth, 1.0))
    assert not np.array_equal(moved(smooth, 1.0), moved(smooth, 1.0, seed=2))


def test_strength_zero_mirrors_at_most(smooth):
    assert np.array_equal(moved(smooth, 0.0), smooth)
    skewed = np.arange(36 * 28 * 3, dtype=np.uint8).reshape(1, 36, 28, 3).repeat(40, axis=0)
    results = moved(skewed, 0.0)
    mirrored = [np.array_equal(image, skewed[0, :, ::-1]) for image in results]
    straight = [np.array_equal(image, skewed[0]) for image in results]
    assert all(one != other for one, other in zip(mirrored, straight, strict=True))
    assert 10 < sum(mirrored) < 30


def test_each_image_is_altered_in_its_own_way(smooth):
    same = smooth[:1].repeat(16, axis=0)
    results = moved(same, 1.0)
    assert results.shape == same.shape
    assert results.dtype == np.uint8
    assert len({image.tobytes() for image in results}) == 16


def test_a_greater_strength_alters_more(smooth):
    little, much = (np.abs(moved(smooth, strength) - smooth.astype(float)).mean() for strength in (0.3, 1.5))
    assert 0 < little * 2 < much


def test_the_light_changes_by_a_factor_and_an_offset():
    contrast, offset = relight(2000, 1.0, np.random.default_rng(0))
    assert contrast.shape == (2000, 1, 1, 1)
    assert offset.shape == (2000, 1, 1, 3)
    assert contrast.dtype == offset.dtype == np.float32
    assert abs(np.median(contrast) - 1) < 0.02
    assert abs(offset.mean()) < 0.01
    assert offset.std(axis=3).mean() < offset.mean(axis=3).std()


def test_no_strength_leaves_the_light_alone():
    contrast, offset = relight(3, 0.0, np.random.default_rng(0))
    assert (contrast == 1).all()
    assert (offset == 0).all()
