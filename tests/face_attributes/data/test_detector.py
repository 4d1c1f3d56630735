import shutil

import numpy as np
import pytest

from drawn_faces import SyntheticParams, draw_face
from face_attributes.common.errors import ModelError
from face_attributes.data import detector
from face_attributes.data.alignment import EYES
from face_attributes.data.detector import aligned_eyes, detect
from tests.support.scenes import Place, scene


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    return [draw_face(1, index, SyntheticParams(count=20, seed=1))[0] for index in range(4)]


def test_each_of_several_faces_has_its_box_and_its_eyes(faces):
    places = [Place(150, 160, 100, 12), Place(480, 300, 140, -20)]
    image = scene(faces[:2], places, (640, 480))
    found = detect(image)
    assert len(found) == 2, "from left to right"
    for face, place in zip(found, places, strict=True):
        left, top, right, bottom = face.box
        assert left < place.x < right
        assert top < place.y < bottom
        assert bottom - top == pytest.approx(place.height, rel=0.3)
        assert face.score > 0.9
        assert np.abs(face.eyes - place.eyes).max() < 0.07 * place.height


def test_eyes_of_an_aligned_face_are_those_of_its_mirror(faces):
    for face in faces:
        eyes = aligned_eyes(face)
        assert np.abs(eyes - EYES).max() < 12
        assert aligned_eyes(face[:, ::-1].copy())[::-1] * (-1, 1) + (178, 0) == pytest.approx(eyes, abs=0.01)


def test_nothing_is_found_where_there_is_no_face():
    assert detect(np.full((300, 300, 3), 127, np.uint8)) == []
    assert detect(np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)) == []
    assert detect(np.zeros((1, 4000, 3), np.uint8)) == []


def test_a_changed_network_is_refused(monkeypatch, tmp_path):
    shutil.copytree(detector.WEIGHTS, tmp_path / "mtcnn")
    with (tmp_path / "mtcnn/rnet.onnx").open("ab") as file:
        file.write(b"\0")
    monkeypatch.setattr(detector, "WEIGHTS", tmp_path / "mtcnn")
    detector.session.cache_clear()
    try:
        with pytest.raises(ModelError, match=r"rnet\.onnx: is not the file of this release"):
            detector.session("rnet")
    finally:
        detector.session.cache_clear()
