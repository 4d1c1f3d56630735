import numpy as np
import pytest

from face_attributes.evaluation import slices

MALE = np.array([True, True, False, False, False, True])
YOUNG = np.array([True, False, True, False, True, True])
LIGHT = np.array([10.0, 20, 30, 40, 50, 60])


def members(parts):
    return {part.name: np.flatnonzero(part.images).tolist() for part in parts}


def test_images_are_parted_by_sex_by_age_by_both_by_skin_and_by_light():
    parts = slices.split({"Male": MALE, "Young": YOUNG, "Pale_Skin": MALE}, LIGHT)
    assert members(parts) == {
        "Male": [0, 1, 5],
        "not Male": [2, 3, 4],
        "Young": [0, 2, 4, 5],
        "not Young": [1, 3],
        "Male and Young": [0, 5],
        "Male and not Young": [1],
        "not Male and Young": [2, 4],
        "not Male and not Young": [3],
        "Pale_Skin": [0, 1, 5],
        "not Pale_Skin": [2, 3, 4],
        "dark": [0, 1],
        "medium": [2, 3],
        "bright": [4, 5],
    }
    assert list(dict.fromkeys(part.by for part in parts)) == [
        "Male",
        "Young",
        "Male and Young",
        "Pale_Skin",
        "brightness",
    ]


@pytest.mark.parametrize(("labels", "expected"), [({}, set()), ({"Young": YOUNG}, {"Young", "not Young"})])
def test_groups_without_labels_are_left_out(labels, expected):
    names = {part.name for part in slices.split(labels, LIGHT)}
    assert names == expected | {"dark", "medium", "bright"}


@pytest.mark.parametrize("brightness", [[5.0], [5.0] * 7, [5.0, 5.0, 9.0]])
def test_every_image_is_in_one_third(brightness):
    parts = slices.split({}, np.array(brightness))
    assert (np.sum([part.images for part in parts], axis=0) == 1).all()


def test_accuracy_of_parts_under_weights():
    parts = slices.split({"Male": MALE}, LIGHT)
    correct = np.array([1.0, 0.5, 0.0, 0.25, 0.75, 0.5])
    weights = np.array([[1, 1, 1, 1, 1, 1], [0, 3, 0, 1, 0, 1], [0, 0, 0, 1, 1, 0]], np.uint8)
    found = slices.accuracies(parts, correct, weights)
    assert found.shape == (3, 5)
    assert found[:2, 0] == pytest.approx([2 / 3, 0.5])
    assert found[2, 1] == pytest.approx(0.5)
    assert np.isnan(found[2, 0])
