from collections.abc import Callable

import numpy as np
import pytest

from face_attributes.synthetic import DRAWN_ATTRIBUTES, SyntheticParams, draw_face, population

PARAMS = SyntheticParams(count=1, seed=0)


def test_face_is_an_aligned_rgb_image_with_all_attributes() -> None:
    image, attributes = draw_face(0, 0, PARAMS)
    assert image.shape == (218, 178, 3)
    assert image.dtype == np.uint8
    assert tuple(attributes) == DRAWN_ATTRIBUTES
    assert all(type(value) is bool for value in attributes.values())


def test_same_seed_and_index_give_the_same_bits() -> None:
    first, again = draw_face(4, 17, PARAMS), draw_face(4, 17, PARAMS)
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]


def test_other_seed_or_index_gives_another_face() -> None:
    image = draw_face(4, 17, PARAMS)[0]
    assert not np.array_equal(image, draw_face(4, 18, PARAMS)[0])
    assert not np.array_equal(image, draw_face(5, 17, PARAMS)[0])


def test_count_is_no_part_of_a_face() -> None:
    image = draw_face(4, 17, PARAMS)[0]
    assert np.array_equal(image, draw_face(4, 17, SyntheticParams(count=500, seed=4))[0])


def test_attributes_are_those_of_the_population() -> None:
    columns = population.sample(9, range(5))
    for index in range(5):
        assert draw_face(9, index, PARAMS)[1] == {name: columns[name][index] for name in DRAWN_ATTRIBUTES}


@pytest.mark.parametrize("knob", [{"light": 0.7}, {"blur": 2.0}, {"noise": 20.0}, {"pose": 2.0}])
def test_knob_changes_the_picture_and_not_the_person(knob: dict[str, float]) -> None:
    plain, drifted = draw_face(4, 17, PARAMS), draw_face(4, 17, SyntheticParams(count=1, seed=0, **knob))
    assert drifted[1] == plain[1]
    assert not np.array_equal(drifted[0], plain[0])


def test_any_person_can_be_drawn_in_an_extreme_pose() -> None:
    params = SyntheticParams(count=1, seed=0, pose=3.0)
    for index in range(40):
        assert draw_face(0, index, params)[0].std() > 5


def test_sex_shows_without_beard_hair_or_make_up(draw: Callable[..., np.ndarray]) -> None:
    changed = np.abs(draw(Male=True).astype(int) - draw(Male=False)).max(axis=2) > 15
    assert changed[90:180].mean() > 0.02
