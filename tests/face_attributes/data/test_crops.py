import cv2
import numpy as np
import pytest

from drawn_faces import SyntheticParams, draw_face
from face_attributes.data import crops

FACES = 24
HEIGHT, WIDTH = 218, 178


@pytest.fixture(scope="module")
def faces():
    params = SyntheticParams(count=FACES, seed=7)
    return [draw_face(7, index, params)[0] for index in range(FACES)]


def cut(image, right=0, down=0, scale=1.0, mirrored=False):
    """Return another cut of an image."""
    across, along = (1 - scale) * WIDTH / 2 - right, (1 - scale) * HEIGHT / 2 - down
    matrix = np.array([[scale, 0, across], [0, scale, along]], np.float32)
    moved = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(moved[:, ::-1]) if mirrored else moved


def find(held_out, learnt):
    images = [crops.thumbnail(image) for image in (*held_out, *learnt)]
    parts = ["test"] * len(held_out) + ["train"] * len(learnt)
    ranks = np.array([0] * len(held_out) + [2] * len(learnt))
    return crops.find(np.stack(images), np.arange(len(images)), parts, ranks)[len(held_out) :].tolist()


@pytest.mark.parametrize("mirrored", [False, True], ids=["as is", "mirrored"])
@pytest.mark.parametrize(
    "change", [{"right": 6, "down": 3}, {"down": -10}, {"scale": 1.2}, {"scale": 0.9}], ids=str
)
def test_another_cut_of_a_held_out_photograph_is_found(faces, change, mirrored):
    held_out, others = faces[:8], faces[8:]
    learnt = [*others, *(cut(image, **change, mirrored=mirrored) for image in held_out)]
    assert find(held_out, learnt) == [-1] * len(others) + list(range(8))


def test_the_copy_of_the_higher_rank_goes_whichever_part_is_larger(faces):
    learnt = [faces[0], *faces[2:4]]
    assert find([cut(faces[0], 8), *faces[8:]], learnt) == [0, -1, -1]


def test_images_of_one_part_and_those_not_asked_about_are_not_compared(faces):
    images = np.stack([crops.thumbnail(image) for image in (faces[0], cut(faces[0], 8), faces[1])])
    ranks = np.array([2, 2, 0])
    assert (crops.find(images, np.arange(3), ["train", "train", "test"], ranks) == -1).all()
    ranks, parts = np.array([2, 0, 0]), ["train", "test", "test"]
    assert (crops.find(images, np.array([0, 2]), parts, ranks) == -1).all()
    assert crops.find(images, np.arange(3), parts, ranks).tolist() == [1, -1, -1]


def test_images_that_are_surely_distinct_are_compared_only_with_others(faces):
    images = [faces[0], cut(faces[0], 8), cut(faces[1], 8), faces[1]]
    thumbnails = np.stack([crops.thumbnail(image) for image in images])
    parts, ranks = ["train", "test", "train", "test"], np.array([2, 0, 5, 0])
    found = crops.find(thumbnails, np.arange(4), parts, ranks, np.array([True, True, False, True]))
    assert found.tolist() == [-1, -1, 3, -1]
