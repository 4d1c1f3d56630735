import io

import cv2
import numpy as np
import pytest
from PIL import Image

from drawn_faces import SyntheticParams, draw_face
from face_attributes.common.errors import ImageError
from face_attributes.data import alignment, images
from face_attributes.data.alignment import EYES, align_by, aligned_jpeg, faces_of
from face_attributes.model.onnx_model import Model
from tests.support.scenes import Place, scene


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    return [draw_face(1, index, SyntheticParams(count=20, seed=1))[0] for index in range(4)]


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.mark.parametrize(
    "place",
    [Place(320, 240, 115), Place(200, 260, 300, 25), Place(600, 450, 420, -170)],
)
def test_known_eyes_give_the_aligned_photograph_back(faces, place):
    aligned = align_by(scene(faces[:1], [place], (1200, 900)), place.eyes).astype(int)
    inner = np.abs(aligned - faces[0])[60:180, 40:140]
    assert inner.mean() < 3


def test_a_shrunk_face_is_averaged_and_not_sampled(faces):
    stripes = np.zeros((2000, 2000, 3), np.uint8)
    stripes[:, ::2] = 255
    aligned = align_by(stripes, EYES * 8)
    assert np.abs(aligned.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("align", ["auto", "never"])
def test_an_aligned_photograph_keeps_its_bits(made, jpeg, align):
    contents = [path.read_bytes() for path in sorted((made.faces / "img_align_celeba").iterdir())[:20]]
    for content in [*contents, jpeg(1)]:
        (face,) = faces_of(content, align)
        assert face.found is None
        assert np.array_equal(face.pixels, images.decode(content))
        assert aligned_jpeg(content, align) == content


def test_an_aligned_photograph_of_another_format_needs_no_face(faces):
    (face,) = faces_of(png(faces[0]), "auto")
    assert np.array_equal(face.pixels, faces[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.rot90(faces[0]))).save(stream, "JPEG", quality=95, exif=exif)
    (face,) = faces_of(stream.getvalue(), "never")
    assert face.pixels.shape == (218, 178, 3), "upright it has the size of an aligned photograph"
    assert np.abs(face.pixels.astype(int) - faces[0]).mean() < 8


def test_always_aligns_an_aligned_photograph_too(faces):
    (face,) = faces_of(png(faces[0]), "always")
    assert face.found is not None
    assert not np.array_equal(face.pixels, faces[0])
    assert np.abs(face.found.eyes - EYES).max() < 8


def test_never_refuses_another_size():
    with pytest.raises(ImageError, match="300x200 pixels, not 178x218; align it, or use align: auto"):
        faces_of(png(np.zeros((200, 300, 3), np.uint8)), "never")


def test_no_face_and_a_crowd(faces, monkeypatch):
    with pytest.raises(ImageError, match="no face found in 300x200 pixels; turn it upright, or"):
        faces_of(png(np.full((200, 300, 3), 90, np.uint8)), "auto")
    monkeypatch.setattr(alignment, "MAX_FACES", 1)
    two = scene(faces[:2], [Place(150, 160, 100), Place(480, 300, 140)], (640, 480))
    with pytest.raises(ImageError, match="2 faces, more than 1; cut the photograph into parts"):
        faces_of(png(two), "auto")


def test_labels_are_about_one_face(faces):
    one = scene(faces[:1], [Place(300, 250, 150, 15)], (640, 480))
    content = aligned_jpeg(png(one), "auto")
    assert np.abs(images.decode(content).astype(int) - faces_of(png(one), "auto")[0].pixels).mean() < 2
    two = scene(faces[:2], [Place(150, 160, 100), Place(480, 300, 140)], (640, 480))
    with pytest.raises(ImageError, match="2 faces, and labels for one"):
        aligned_jpeg(png(two), "auto")


def test_a_turned_face_gets_about_the_answers_of_the_aligned_one(faces, made):
    """A weak model suffices to see a wrong alignment: upside down, a third of its answers change."""
    model = Model(made.model)
    aligned, expected, mirrored = [], [], []
    for index, face in enumerate(faces):
        place = Place(320, 240, 130, (-25, -10, 10, 25)[index])
        aligned.append(faces_of(png(scene([face], [place], (640, 480))), "auto")[0].pixels)
        expected.append(face)
        mirrored.append(face[::-1])
    answers = [model.predict(np.stack(batch)) for batch in (aligned, expected, mirrored)]
    near, far = (np.abs(answers[0] - answers[1]).mean(), np.abs(answers[2] - answers[1]).mean())
    assert near < far / 2
