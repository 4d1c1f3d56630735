from collections.abc import Callable

import numpy as np
import pytest

from drawn_faces import DRAWN_ATTRIBUTES, SyntheticParams, draw_face, population

PARAMS = SyntheticParams(count=1, seed=0)
MALE = {"Male": True}
# Attribute, what else the face has, the box (head units) that it changes, and the least share that changes.
ATTRIBUTES = [
    # hair.py
    ("Bangs", {}, (-50, -80, 50, -8), 0.1),
    ("Receding_Hairline", MALE, (-60, -95, 60, -10), 0.05),
    ("Bald", MALE, (-60, -95, 60, -8), 0.2),
    ("Wavy_Hair", {}, (-85, -118, 85, 118), 0.1),
    ("Straight_Hair", {}, (-85, -118, 85, 118), 0.1),
    ("Wearing_Hat", {}, (-75, -118, 75, 6), 0.2),
    # head.py
    ("High_Cheekbones", {}, (-50, -10, 50, 44), 0.08),
    ("Rosy_Cheeks", {}, (-54, -8, 54, 44), 0.1),
    ("Bags_Under_Eyes", {}, (-40, -8, 40, 20), 0.1),
    ("Double_Chin", {}, (-45, 36, 45, 100), 0.08),
    ("Chubby", {}, (-80, -70, 80, 118), 0.05),
    ("Oval_Face", {}, (-60, -80, 60, 80), 0.02),
    ("Young", {}, (-60, -70, 60, 72), 0.03),
    ("Pale_Skin", {}, (-60, -60, 60, 118), 0.2),
    # eyes.py
    ("Narrow_Eyes", {}, (-35, -16, 35, 4), 0.1),
    ("Heavy_Makeup", {}, (-42, -24, 42, 6), 0.1),
    ("Arched_Eyebrows", {}, (-40, -34, 40, -12), 0.1),
    ("Bushy_Eyebrows", {}, (-40, -30, 40, -10), 0.1),
    ("Eyeglasses", {}, (-52, -24, 52, 16), 0.1),
    # nose.py
    ("Big_Nose", {}, (-22, -16, 22, 34), 0.15),
    ("Pointy_Nose", {}, (-13, -18, 13, 28), 0.1),
    # mouth.py
    ("Mouth_Slightly_Open", {}, (-24, 22, 24, 54), 0.1),
    ("Big_Lips", {}, (-24, 22, 24, 56), 0.1),
    ("Wearing_Lipstick", {}, (-24, 24, 24, 50), 0.05),
    ("Smiling", {}, (-36, -12, 36, 52), 0.05),
    # beard.py
    ("5_o_Clock_Shadow", MALE, (-50, 10, 50, 70), 0.1),
    ("Goatee", {"Male": True, "No_Beard": False}, (-50, 8, 50, 80), 0.1),
    ("Mustache", MALE, (-27, 18, 27, 40), 0.2),
    ("No_Beard", MALE, (-52, 6, 52, 80), 0.2),
    ("No_Beard", {"Male": True, "5_o_Clock_Shadow": True}, (-52, 6, 52, 72), 0.1),
    ("Sideburns", MALE, (-50, -30, 50, 28), 0.04),
    # worn.py
    ("Wearing_Necktie", MALE, (-90, 60, 90, 110), 0.05),
    ("Wearing_Necklace", {}, (-45, 60, 45, 110), 0.05),
    ("Wearing_Earrings", {}, (-62, 5, 62, 36), 0.04),
]


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


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize(
    ("name", "others", "box", "least"), ATTRIBUTES, ids=[attribute[0] for attribute in ATTRIBUTES]
)
def test_attribute_shows_where_it_belongs_and_nowhere_else(
    name: str,
    others: dict[str, bool],
    box: tuple[int, int, int, int],
    least: float,
    index: int,
    changes: Callable[..., tuple[float, float]],
) -> None:
    inside, outside = changes(name, box, index, **others)
    assert inside > least
    assert outside < 0.002
