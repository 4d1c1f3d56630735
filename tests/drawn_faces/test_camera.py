import numpy as np
import pytest

from drawn_faces import SyntheticParams
from drawn_faces.camera import photographed
from drawn_faces.random_streams import RandomStreams

STRIPES = np.full((218, 178, 3), 90, np.uint8)
STRIPES[:, ::8] = 150


def seen(**knobs: float) -> np.ndarray:
    return photographed(STRIPES, RandomStreams(0, 0), SyntheticParams(count=1, seed=0, **knobs)).astype(float)


def test_light_multiplies_brightness() -> None:
    assert seen(light=0.6).mean() == pytest.approx(0.6 * seen().mean(), rel=0.02)


def test_light_saturates_instead_of_wrapping() -> None:
    assert seen(light=3.0).min() > seen().min()


def test_blur_takes_detail_away() -> None:
    assert np.abs(np.diff(seen(blur=3), axis=1)).mean() < 0.7 * np.abs(np.diff(seen(), axis=1)).mean()


def test_noise_adds_to_what_is_there() -> None:
    assert np.diff(seen(noise=25), axis=0).std() > 3 * np.diff(seen(), axis=0).std()


def test_cameras_differ() -> None:
    params = SyntheticParams(count=1, seed=0)
    means = [photographed(STRIPES, RandomStreams(0, index), params).mean() for index in range(20)]
    assert np.std(means) > 3
