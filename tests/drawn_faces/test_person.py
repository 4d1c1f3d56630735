import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn_faces import DRAWN_ATTRIBUTES
from drawn_faces.person import CENTER, Pose, create_person
from drawn_faces.random_streams import RandomStreams

NOBODY = dict.fromkeys(DRAWN_ATTRIBUTES, False)
FRONTAL = Pose(0, 0, 0, 1, (0, 0))


def test_frontal_face_lies_where_head_units_say() -> None:
    points = [(0, 0), (-21.5, -6), (0, 58)]
    assert np.allclose(FRONTAL.place(points), CENTER + np.array(points))


@given(yaw=st.floats(0.05, 0.35))
def test_turned_head_moves_the_nose_farther_than_the_outline(yaw: float) -> None:
    turned = Pose(yaw, 0, 0, 1, (0, 0))
    nose = (turned.place([(0, 15)], 8) - FRONTAL.place([(0, 15)], 8))[0, 0]
    outline = (turned.place([(0, -70)], None) - FRONTAL.place([(0, -70)], None))[0, 0]
    assert nose > 0 > outline


@given(st.integers(0, 10**6))
def test_eyes_stay_aligned_in_any_pose(index: int) -> None:
    pose = create_person(NOBODY, RandomStreams(0, index), 1.0).pose
    eyes = [(-21.5, -6), (21.5, -6)]
    assert np.abs(pose.place(eyes) - FRONTAL.place(eyes)).max() < 18


def test_pose_knob_stills_or_strengthens_the_pose() -> None:
    poses = {knob: create_person(NOBODY, RandomStreams(0, 1), knob).pose for knob in (0.0, 1.0, 2.0)}
    assert poses[0.0] == FRONTAL
    assert poses[2.0].yaw == pytest.approx(2 * poses[1.0].yaw)


@pytest.mark.parametrize("index", range(5))
def test_pale_skin_is_lighter_than_any_other(index: int) -> None:
    pale = create_person(NOBODY | {"Pale_Skin": True}, RandomStreams(0, index), 1.0).skin
    others = [create_person(NOBODY, RandomStreams(0, other), 1.0).skin for other in range(200)]
    assert min(pale) > max(min(skin) for skin in others)


def test_everyone_has_skin_and_hair_of_their_own() -> None:
    persons = [create_person(NOBODY, RandomStreams(0, index), 1.0) for index in range(50)]
    assert len({person.skin for person in persons}) == 50
    assert len({person.hair for person in persons}) == 50
