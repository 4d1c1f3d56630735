"""Maps of a model that looks at a known place, and the regions of drawn faces."""

import numpy as np
import pytest

from face_attributes.evaluation import occlusion


class Looker:
    """Sees an attribute in the brightness of one place, and nothing else."""

    attributes = ("Eyeglasses", "Other")

    def __init__(self, top, left):
        self.place = (slice(None), slice(top, top + 20), slice(left, left + 20))

    def predict(self, images):
        seen = images[self.place].mean(axis=(1, 2, 3)) / 255
        return np.stack([seen, np.full(len(images), 0.2)], axis=1).astype(np.float32)

    def decide(self, probabilities):
        return probabilities >= 0.001


def test_a_map_is_bright_where_the_model_looks():
    image = np.zeros((218, 178, 3), np.uint8)
    image[100:120, 60:80] = 255
    found = occlusion.maps(Looker(100, 60), image)
    row, column = np.unravel_index(found[:, :, 0].argmax(), found.shape[:2])
    top, left = row * occlusion.STEP, column * occlusion.STEP
    assert top <= 100
    assert top + occlusion.SIDE >= 120
    assert left <= 60
    assert left + occlusion.SIDE >= 80
    assert found[0, 0, 0] == 0
    assert found[:, :, 1].max() == 0, "a model that ignores the picture has an empty map"


def test_regions_are_where_an_attribute_is_drawn():
    _, glasses = occlusion.drawn_region("Eyeglasses", 1)
    _, hat = occlusion.drawn_region("Wearing_Hat", 1)
    eyes, chin = (slice(100, 124), slice(60, 118)), (slice(175, 190), slice(70, 108))
    assert glasses[eyes].mean() > 0.7
    assert glasses[chin].mean() == 0
    assert hat[:60].mean() > hat[120:].mean()


@pytest.mark.parametrize(("top", "left", "inside"), [(102, 58, True), (200, 0, False)])
def test_a_model_that_looks_at_the_right_place_has_a_larger_share(top, left, inside):
    shares = occlusion.shares(Looker(top, left), 2)
    assert list(shares) == ["Eyeglasses"], "only a drawn attribute has a true region"
    share, region = shares["Eyeglasses"]["share"], shares["Eyeglasses"]["region"]
    assert ((share or 0) > 2 * region) is inside
