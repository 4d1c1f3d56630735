"""A photograph that somebody asked to delete is not collected again."""

import hashlib
import json
from pathlib import Path

import cv2
import pytest

from drawn_faces import SyntheticParams, draw_face
from face_attributes.common.errors import DataError
from face_attributes.data import duplicates, images
from face_attributes.data.collect import collect
from face_attributes.data.forgotten import Forgotten
from face_attributes.data.shards import ShardReader
from face_attributes.params import DataParams

FACE, OTHER = (draw_face(5, index, SyntheticParams(count=2, seed=5))[0] for index in range(2))
FORGOTTEN = Forgotten(fingerprints=frozenset({duplicates.fingerprint(FACE).tobytes()}))


def write(path: Path, photographs: list[str], fingerprints: list[str]) -> None:
    content = {"format": 1, "photographs": photographs, "fingerprints": fingerprints, "objects": []}
    path.write_text(json.dumps(content))


def test_another_file_of_it_is_known() -> None:
    again = cv2.imencode(".jpg", FACE[:, ::-1, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes()
    assert FORGOTTEN.has(images.encode(FACE))
    assert FORGOTTEN.has(again)
    assert not FORGOTTEN.has(images.encode(OTHER))
    assert not FORGOTTEN.has(b"no photograph")


def test_collect_takes_it_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "celeba"
    (source / "img_align_celeba").mkdir(parents=True)
    faces = {"a.jpg": images.encode(FACE), "b.jpg": images.encode(OTHER), "c.jpg": b"\xff\xd8 broken"}
    for name, content in faces.items():
        (source / "img_align_celeba" / name).write_bytes(content)
    (source / "list_attr_celeba.csv").write_text("image_id,Smiling\na.jpg,1\nb.jpg,1\nc.jpg,1\n")
    (source / "identity_CelebA.csv").write_text("image_id,identity\na.jpg,7\nb.jpg,8\nc.jpg,9\n")
    monkeypatch.setenv("CELEBA_DIR", str(source))
    raw = tmp_path / "data" / "raw"
    raw.parent.mkdir()
    broken = hashlib.sha256(faces["c.jpg"]).hexdigest()
    write(raw.parent / "forgotten.json", [broken], [duplicates.fingerprint(FACE).tobytes().hex()])
    params = DataParams.model_validate(
        {
            "source": "celeba",
            "attributes": ["Smiling"],
            "max_images": None,
            "max_bad_fraction": 0,
            "align": "auto",
            "synthetic": {"count": 1, "seed": 1},
        }
    )
    with caplog.at_level("INFO"):
        collect(params, raw)
    rows = [name for rows in ShardReader(sorted(raw.glob("*.parquet"))).batches() for name in rows.ids]
    assert rows == ["b.jpg"]
    assert (raw / "quarantine.csv").read_text() == "id,reason\n"
    assert "2 images are left out: somebody asked to delete it" in caplog.text
    assert (raw.parent / "people.csv").read_text() == "image_id,person\nb.jpg,8\n"


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 2}'])
def test_a_list_that_cannot_be_read_stops_the_stage(tmp_path: Path, content: str) -> None:
    path = tmp_path / "forgotten.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"forgotten\.json"):
        Forgotten.read(path)


def test_a_checkout_of_before_has_forgotten_nothing(tmp_path: Path) -> None:
    assert not Forgotten.read(tmp_path / "none.json").has(images.encode(FACE))
