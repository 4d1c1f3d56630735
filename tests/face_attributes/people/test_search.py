"""A person is found in every kind of file, by ids and by looks, and removed from it."""

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drawn_faces import SyntheticParams, draw_face
from face_attributes.data import images
from face_attributes.data.celeba import read_attributes
from face_attributes.data.shards import Rows, ShardReader, ShardWriter
from face_attributes.evaluation.columns import digests
from face_attributes.people.rebuild import rebuild
from face_attributes.people.search import search
from face_attributes.people.wanted import Wanted

FACES = [draw_face(3, index, SyntheticParams(count=8, seed=3))[0] for index in range(8)]
JPEGS = [images.encode(face) for face in FACES]
# The same photograph, saved again and mirrored
AGAIN = cv2.imencode(".jpg", FACES[1][:, ::-1, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()


def shards(path: Path, names: list[str], jpegs: list[bytes]) -> None:
    rows = Rows(names, jpegs, ["train"] * len(names), np.zeros((len(names), 1), bool))
    with ShardWriter(path, ["Smiling"], one_file=True) as writer:
        writer.write(rows)


def scores(path: Path, names: list[str], faces: list[int], bad: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "id": names,
            "Smiling": [True] * len(names),
            "Smiling_score": np.ones(len(names), np.float32),
            "digest": pa.array(
                digests(np.stack([images.decode(JPEGS[face]) for face in faces])), pa.binary(16)
            ),
        }
    )
    about = {"model_sha256": "0" * 64, "release": "", "quarantined": json.dumps(bad)}
    pq.write_table(table.replace_schema_metadata(about), path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The data folder of dev: photograph 1 is there under four names, and in every kind of list."""
    home = tmp_path / "dev" / "data"
    for path, content in {
        "scored/upload/one.jpg": JPEGS[1],
        "scored/upload/two.jpg": JPEGS[2],
        "scored/later/again.jpg": AGAIN,
        "incoming/new/me.jpg": JPEGS[1],
        "quarantine/upload/broken.jpg": b"\xff\xd8 broken",
        "labelled/dev-1/000001.jpg": JPEGS[1],
        "labelled/dev-1/000002.jpg": JPEGS[2],
        "labelled/dev-2/000001.jpg": JPEGS[1],
    }.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(content)
    listed = "image_id,Smiling\n000001.jpg,1\n"
    (home / "labelled/dev-1/list_attr_celeba.csv").write_text(f"{listed}000002.jpg,1\n")
    (home / "labelled/dev-2/list_attr_celeba.csv").write_text(listed)
    (home / "labelled/dev-1/gathered.csv").write_text(
        "image_id,source\n000001.jpg,upload/one.jpg\n000002.jpg,upload/two.jpg\n"
    )
    (home / "quarantine/upload/quarantine.csv").write_text(
        "id,reason\nbroken.jpg,corrupt\nother.jpg,corrupt\n"
    )
    (home / "labels").mkdir()
    (home / "labels/upload.csv").write_text("image_id,Smiling\none.jpg,1\ntwo.jpg,1\n")
    (home / "labels/all.txt").write_text("2\nSmiling\nlater/again.jpg 1\nupload/two.jpg 1\n")
    day = home / "scores/date=2026-01-07"
    scores(
        day / "upload.parquet", ["one.jpg", "two.jpg"], [1, 2], {"broken.jpg": "corrupt", "x.jpg": "corrupt"}
    )
    (day / "upload.json").write_text("{}")
    scores(day / "later.parquet", ["again.jpg"], [3], {})
    # Its photograph is gone; the digest of its pixels is left
    scores(day / "gone.parquet", ["nameless.jpg", "two.jpg"], [1, 2], {})
    # Earlier scores of a batch that waits to be scored again
    scores(home / "incoming/new/.visage-before.parquet", ["me.jpg", "you.jpg"], [1, 2], {})
    scores(home / "parts/upload/abc-1-of-2.parquet", ["one.jpg#2", "two.jpg"], [4, 2], {})
    scores(home / "shadows/0f34dec3e719/date=2026-01-07/upload.parquet", ["one.jpg", "two.jpg"], [1, 2], {})
    return home


def names(path: Path) -> list[str]:
    return pq.read_table(path).column("id").to_pylist()


def request(home: Path, *given: str, **more: object) -> dict:
    places = [{"kind": "home", "path": str(home), "name": "dev"}]
    return {"places": places, "given": list(given), **more}


def test_everything_about_a_photograph_goes_and_the_rest_stays(home: Path) -> None:
    ids = ("upload/one.jpg", "upload/broken.jpg")
    found = search(request(home, *ids))
    assert set(found["known"]["ids"]["dev"]) == {
        "upload/one.jpg",
        "upload/broken.jpg",
        "later/again.jpg",
        "new/me.jpg",
    }
    assert set(found["known"]["ids"][""]) == {"dev-1/000001.jpg", "dev-2/000001.jpg"}
    assert {"labels/all.txt", "labels/upload.csv", "scores/date=2026-01-07/gone.parquet"} <= {
        hit["path"] for hit in found["hits"]
    }
    done = search(request(home, *ids, known=found["known"]), act=True)
    assert {hit["path"] for hit in done["hits"]} == {hit["path"] for hit in found["hits"]}
    left = sorted(path.relative_to(home).as_posix() for path in home.rglob("*.jpg"))
    assert left == ["labelled/dev-1/000002.jpg", "scored/upload/two.jpg"]
    assert not (home / "labelled/dev-2").exists()
    assert (home / "labels/all.txt").read_text() == "1\nSmiling\nupload/two.jpg 1\n"
    assert (home / "labels/upload.csv").read_text() == "image_id,Smiling\ntwo.jpg,1\n"
    assert "000001" not in (home / "labelled/dev-1/gathered.csv").read_text()
    assert (home / "quarantine/upload/quarantine.csv").read_text() == "id,reason\nother.jpg,corrupt\n"
    day = home / "scores/date=2026-01-07"
    assert names(day / "upload.parquet") == names(day / "gone.parquet") == ["two.jpg"]
    assert names(home / "parts/upload/abc-1-of-2.parquet") == ["two.jpg"]
    assert names(home / "shadows/0f34dec3e719/date=2026-01-07/upload.parquet") == ["two.jpg"]
    assert not (day / "later.parquet").exists()
    about = pq.read_schema(day / "upload.parquet").metadata
    assert about is not None
    assert json.loads(about[b"quarantined"]) == {"x.jpg": "corrupt"}
    assert json.loads((day / "upload.json").read_text())["rows"] == 1
    assert search(request(home, *ids, known=found["known"]))["hits"] == []


def test_earlier_scores_of_a_batch_that_waits_go_too(home: Path) -> None:
    found = search(request(home, "new/me.jpg"))
    search(request(home, "new/me.jpg", known=found["known"]), act=True)
    assert not (home / "incoming/new/me.jpg").exists()
    assert names(home / "incoming/new/.visage-before.parquet") == ["you.jpg"]


def test_an_id_of_one_environment_is_not_one_of_another(home: Path) -> None:
    assert search(request(home, "prod:upload/one.jpg"))["hits"] == []
    assert search(request(home, "dev:upload/one.jpg"))["hits"] != []


def test_the_picture_itself_is_enough(home: Path, tmp_path: Path) -> None:
    picture = tmp_path / "me.jpg"
    picture.write_bytes(AGAIN)
    found = search(request(home, pictures=[str(picture)]))
    assert "upload/one.jpg" in found["known"]["ids"]["dev"]
    assert "upload/two.jpg" not in found["known"]["ids"]["dev"]


def test_objects_of_dvc_are_known_by_their_content(tmp_path: Path) -> None:
    shards(tmp_path / "shards", ["a.jpg", "b.jpg"], [JPEGS[0], AGAIN])
    shards(tmp_path / "others", ["c.jpg"], [JPEGS[3]])
    small = np.stack([images.shrink(face, 3) for face in FACES[:3]])
    for name, array in (("arrays", small), ("rest", small[2:])):
        with (tmp_path / name).open("wb") as file:
            np.save(file, array)
    (tmp_path / "people").write_text("image_id,person\na.jpg,7\nb.jpg,9\n")
    (tmp_path / "model").write_bytes(b"ONNX")
    objects = sorted(path for path in tmp_path.iterdir())
    picture = tmp_path / "me.jpg"
    picture.write_bytes(JPEGS[1])
    places = [{"kind": "object", "path": str(path), "name": path.name} for path in objects]
    found = search({"places": places, "pictures": [str(picture)]})
    assert {objects[hit["place"]].name: hit["rows"] for hit in found["hits"]} == {
        "arrays": 1,
        "people": 1,
        "shards": 1,
    }


def test_the_shards_without_a_person_are_those_of_a_collection_without_them(tmp_path: Path) -> None:
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    (tmp_path / "data/labelled").mkdir()
    listed = [f"{index}.jpg" for index in range(8)]
    shards(raw / "part-00000.parquet", listed, JPEGS)
    (raw / "quarantine.csv").write_text("id,reason\nbad.jpg,corrupt\n")
    with (tmp_path / "data/people.csv").open("w") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [["image_id", "person"], *([name, name] for name in listed)]
        )
    digest = hashlib.sha256(JPEGS[1]).hexdigest()
    wanted = Wanted.of({"given": ["bad.jpg"], "known": {"digests": [digest]}})
    assert rebuild(tmp_path, wanted) == {"raw": 1, "batches": {}}
    assert ShardReader([raw / "part-00000.parquet"]).partition_sizes()["train"] == 7
    assert "1.jpg" not in (tmp_path / "data/people.csv").read_text()
    assert (raw / "quarantine.csv").read_text() == "id,reason\n"
    expected = tmp_path / "expected.parquet"
    shards(expected, [name for name in listed if name != "1.jpg"], [*JPEGS[:1], *JPEGS[2:]])
    assert (raw / "part-00000.parquet").read_bytes() == expected.read_bytes()
    shutil.rmtree(raw)


@pytest.mark.parametrize(
    ("name", "content", "left"),
    [
        ("upload.csv", b"\xef\xbb\xbfimage_id,Smiling\none.jpg,1\n", b"\xef\xbb\xbfimage_id,Smiling\n"),
        ("upload.csv", b'"image_id","Smiling"\n"one.jpg","1"\n', b'"image_id","Smiling"\n'),
        ("upload.csv", b"\n\r\n image_id,Smiling\n one.jpg ,1\n", b"\n\r\n image_id,Smiling\n"),
        ("upload.csv", b"image_id,Smiling\rone.jpg,1\r", b"image_id,Smiling\r"),
        ("upload.txt", b"\xef\xbb\xbf1\r\nSmiling\r\none.jpg 1\r\n", b"\xef\xbb\xbf0\r\nSmiling\r\n"),
    ],
    ids=["mark", "quoted", "blanks", "old line ends", "list with a mark"],
)
def test_a_list_is_read_as_those_who_use_it_read_it(
    tmp_path: Path, name: str, content: bytes, left: bytes
) -> None:
    file = tmp_path / "labels" / name
    file.parent.mkdir()
    file.write_bytes(content)
    _, ids, _ = read_attributes(file, nested=True)
    assert ids == ["one.jpg"]
    found = search(request(tmp_path, "upload/one.jpg"))
    assert [hit["rows"] for hit in found["hits"]] == [1]
    search(request(tmp_path, "upload/one.jpg", known=found["known"]), act=True)
    assert file.read_bytes() == left


@pytest.mark.parametrize(
    "content", [b"BM of another format", b"", b"\0" * (33 << 20)], ids=["format", "empty", "huge"]
)
@pytest.mark.parametrize("folder", ["incoming", "scored", "quarantine"])
def test_a_file_that_is_no_photograph_goes_by_its_id(tmp_path: Path, folder: str, content: bytes) -> None:
    batch = tmp_path / folder / "upload"
    batch.mkdir(parents=True)
    for name in ("me.jpg", "other.jpg"):
        (batch / name).write_bytes(content + (name.encode() if content else b""))
    found = search(request(tmp_path, "upload/me.jpg"))
    assert [hit["path"] for hit in found["hits"]] == [f"{folder}/upload/me.jpg"]
    search(request(tmp_path, "upload/me.jpg", known=found["known"]), act=True)
    assert [path.name for path in batch.iterdir()] == ["other.jpg"]
    assert search(request(tmp_path, known=found["known"]))["hits"] == []


def test_batches_of_others_and_links_stay(home: Path, tmp_path: Path) -> None:
    for name in ("theirs", "empty"):
        (home / "labelled" / name).mkdir()
    (home / "labelled/theirs/list_attr_celeba.csv").write_text("image_id,Smiling\nx.jpg,1\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "notes.txt").write_text("notes")
    (home / "labelled/link").symlink_to(elsewhere)
    found = search(request(home, "upload/one.jpg"))
    search(request(home, "upload/one.jpg", known=found["known"]), act=True)
    assert sorted(path.name for path in (home / "labelled").iterdir()) == ["dev-1", "empty", "link", "theirs"]
    assert (elsewhere / "notes.txt").is_file()


def test_names_that_are_no_text_are_found_and_removed(home: Path) -> None:
    odd = home / "scored" / os.fsdecode(b"up\xffload") / os.fsdecode(b"m\xfe*.jpg")
    odd.parent.mkdir()
    odd.write_bytes(JPEGS[1])
    found = json.loads(json.dumps(search(request(home, "upload/one.jpg"))))
    search(request(home, "upload/one.jpg", known=found["known"]), act=True)
    assert not odd.exists()
