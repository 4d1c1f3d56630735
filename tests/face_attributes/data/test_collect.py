import csv
import logging
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from drawn_faces import SyntheticParams, draw_face
from face_attributes.common.errors import DataError
from face_attributes.data import images
from face_attributes.data.alignment import faces_of
from face_attributes.data.collect import collect
from face_attributes.data.shards import ShardReader
from tests.support.scenes import Place, scene


@pytest.fixture
def folder(celeba_folder, monkeypatch):
    folder = celeba_folder()
    monkeypatch.setenv("CELEBA_DIR", str(folder))
    return folder


def rows_of(raw):
    return [
        row
        for batch in ShardReader(sorted(raw.glob("*.parquet"))).batches()
        for row in zip(batch.ids, batch.jpegs, strict=True)
    ]


def quarantined(raw):
    with (raw / "quarantine.csv").open() as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def test_file_bytes_are_untouched(folder, data_params, tmp_path):
    collect(data_params(), tmp_path / "raw")
    rows = rows_of(tmp_path / "raw")
    assert len(rows) == 60
    for name, jpeg in rows:
        assert jpeg == (folder / "img_align_celeba" / name).read_bytes()
    assert quarantined(tmp_path / "raw") == {}


def people_of(raw):
    with (raw.parent / "people.csv").open() as file:
        return {row["image_id"]: row["person"] for row in csv.DictReader(file)}


def test_people_are_written_where_the_source_knows_them(folder, data_params, tmp_path):
    collect(data_params(), tmp_path / "raw")
    assert people_of(tmp_path / "raw") == {}
    people = {f"{number:06d}.jpg": f"p{number % 7}" for number in range(1, 61)}
    rows = [f"{name} {person}" for name, person in people.items()]
    (folder / "identity_CelebA.txt").write_text("\n".join(rows))
    collect(data_params(max_images=20), tmp_path / "raw")
    found = people_of(tmp_path / "raw")
    assert len(found) == 20
    assert found.items() <= people.items()


def test_bad_files_go_to_quarantine_and_the_rest_goes_on(folder, data_params, tmp_path, jpeg):
    images = folder / "img_align_celeba"
    (images / "000001.jpg").write_bytes(jpeg()[:900])
    (images / "000002.jpg").write_text("hello")
    (images / "000003.jpg").write_bytes(jpeg(width=100))
    (images / "extra.jpg").write_bytes(jpeg())
    collect(data_params(max_bad_fraction=0.1), tmp_path / "raw")
    reasons = quarantined(tmp_path / "raw")
    assert reasons["000001.jpg"].startswith("truncated or corrupt JPEG")
    assert reasons["000002.jpg"] == "not a JPEG, PNG, WebP or HEIC"
    assert reasons["000003.jpg"].startswith("no face found")
    assert reasons["extra.jpg"] == "in the folder, but not in the list"
    assert len(reasons) == 4
    assert [name for name, _ in rows_of(tmp_path / "raw")] == [f"{n:06d}.jpg" for n in range(4, 61)]


def test_a_name_that_is_not_utf8_costs_one_entry(folder, data_params, tmp_path):
    images = os.fsencode(folder / "img_align_celeba")
    with open(images + b"/ren\xe9.jpg", "wb") as file:  # noqa: PTH123, a path of bytes
        file.write(b"unlisted")
    collect(data_params(), tmp_path / "raw")
    assert len(rows_of(tmp_path / "raw")) == 60
    assert quarantined(tmp_path / "raw") == {"ren\\xe9.jpg": "in the folder, but not in the list"}


def test_photographs_as_they_come_are_aligned(folder, data_params, tmp_path):
    place = Place(320, 240, 140, 20)
    face = draw_face(1, 0, SyntheticParams(count=1, seed=1))[0]
    photograph = cv2.cvtColor(scene([face], [place], (640, 480)), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "img_align_celeba/000001.jpg"), photograph)
    collect(data_params(), tmp_path / "raw")
    (name, jpeg), *others = rows_of(tmp_path / "raw")
    assert (name, len(others)) == ("000001.jpg", 59)
    (expected,) = faces_of((folder / "img_align_celeba" / name).read_bytes(), "auto")
    assert expected.found is not None
    assert np.abs(images.decode(jpeg).astype(int) - expected.pixels).mean() < 2
    collect(data_params(align="never"), tmp_path / "raw")
    assert quarantined(tmp_path / "raw") == {
        "000001.jpg": "640x480 pixels, not 178x218; align it, or use align: auto"
    }


def test_a_photograph_that_lies_on_its_side_is_learnt_upright(folder, data_params, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    file = folder / "img_align_celeba/000001.jpg"
    upright = Image.open(file).convert("RGB")
    upright.transpose(Image.Transpose.ROTATE_180).save(file, quality=95, subsampling=0, exif=exif)
    collect(data_params(), tmp_path / "raw")
    learnt = dict(rows_of(tmp_path / "raw"))["000001.jpg"]
    assert np.abs(images.decode(learnt).astype(int) - np.asarray(upright)).mean() < 3


def test_a_subset_of_the_listed_images_is_a_data_set(folder, data_params, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for number in range(1, 51):
        (folder / "img_align_celeba" / f"{number:06d}.jpg").unlink()
    collect(data_params(), tmp_path / "raw")
    assert [name for name, _ in rows_of(tmp_path / "raw")] == [f"{n:06d}.jpg" for n in range(51, 61)]
    assert quarantined(tmp_path / "raw") == {}
    assert f"50 listed images are not in {folder / 'img_align_celeba'}: left out" in caplog.text


def test_too_many_bad_files_stop_the_run_and_leave_what_was_there(folder, data_params, tmp_path):
    collect(data_params(), tmp_path / "raw")
    kept = [*(tmp_path / "raw").iterdir(), tmp_path / "people.csv"]
    before = {path.name: path.read_bytes() for path in kept}
    for number in range(1, 5):
        (folder / "img_align_celeba" / f"{number:06d}.jpg").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"4 of 60 images are bad so far .* data\.max_bad_fraction allows 0\.05"
    ):
        collect(data_params(), tmp_path / "raw")
    assert {path.name: path.read_bytes() for path in kept} == before
    assert {path.name for path in tmp_path.iterdir()} == {"celeba", "people.csv", "raw"}


def test_not_one_good_file(folder, data_params, tmp_path):
    for path in (folder / "img_align_celeba").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="not one of 60 images can be used"):
        collect(data_params(max_bad_fraction=1.0), tmp_path / "raw")


def test_the_same_folder_gives_the_same_bytes(folder, data_params, tmp_path):
    for name in ("one", "two"):
        collect(data_params(), tmp_path / name)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two


def test_a_limit_takes_a_sample(folder, data_params, tmp_path, jpeg):
    (folder / "img_align_celeba" / "extra.jpg").write_bytes(jpeg())
    collect(data_params(max_images=20), tmp_path / "raw")
    assert len(rows_of(tmp_path / "raw")) == 20
    assert quarantined(tmp_path / "raw") == {}


def test_what_was_taken_for_granted_is_printed(folder, data_params, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (folder / "list_eval_partition.txt").unlink()
    (folder / "photos.zip").write_bytes(b"")
    (folder / "list_attr_celeba.csv").write_text("image_id\n")
    collect(data_params(max_images=30), tmp_path / "raw")
    text = "\n".join(caplog.messages)
    assert "attributes of list_attr_celeba.txt, parts by a hash of each name (no list_eval_partition)" in text
    assert "people not known (no identity_CelebA)" in text
    assert f"not read in {folder}: list_attr_celeba.csv, photos.zip" in text
    assert "30 of 60 images are chosen (data.max_images)" in text
    caplog.clear()
    parts = (f"{number:06d}.jpg {min(number // 20, 2)}" for number in range(1, 61))
    (folder / "List_Eval_Partition.TXT").write_text("\n".join(parts))
    collect(data_params(), tmp_path / "raw")
    text = "\n".join(caplog.messages)
    assert "parts by List_Eval_Partition.TXT" in text
    assert "60 images (19 train, 20 validation, 21 test, as listed), 0 in quarantine" in text
