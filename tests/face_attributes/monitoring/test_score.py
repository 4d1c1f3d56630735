import csv
import json
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from face_attributes.common.errors import DataError, FileError, ModelError
from face_attributes.data import images, quarantine
from face_attributes.data.image_statistics import STATISTICS
from face_attributes.model.onnx_model import Model
from face_attributes.monitoring.score import score
from tests.support.described import fits
from tests.support.nest import nest
from tests.support.scenes import Place, scene

ABOUT = ["digest", "face", "box", "score", "model_sha256", "release"]
RELEASE = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(made, tmp_path):
    folder = tmp_path / "incoming"
    (folder / "more").mkdir(parents=True)
    faces = sorted((made.faces / "img_align_celeba").iterdir())[:70]
    for index, face in enumerate(faces):
        shutil.copy(face, folder / ("more" if index % 2 else "") / face.name)
    (folder / ".hidden").touch()
    return folder


def test_each_image_has_scores_decisions_and_statistics(folder, made, tmp_path):
    scored, bad = score(folder, made.model, tmp_path / "out/scores.parquet", RELEASE)
    assert (scored, bad) == (70, {})
    table = pq.read_table(tmp_path / "out/scores.parquet")
    model = Model(made.model)
    assert table.num_rows == 70
    assert sorted(table.column("id").to_pylist()) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")
    )
    names = [*model.attributes, *(f"{name}_score" for name in model.attributes)]
    embedding = [f"embedding_{index}" for index in range(model.embedding)]
    assert embedding
    assert table.column_names == ["id", *names, *embedding, *STATISTICS, *ABOUT]
    row = table.slice(50, 1).to_pylist()[0]
    image = images.decode((folder / row["id"]).read_bytes())
    probabilities, described = model.describe(image[None])
    expected = dict(zip(model.attributes, probabilities[0], strict=True))
    assert [row[name] for name in embedding] == pytest.approx(described[0].tolist(), abs=1e-4)
    for index, name in enumerate(model.attributes):
        assert row[f"{name}_score"] == pytest.approx(expected[name], abs=1e-5)
        assert row[name] == (row[f"{name}_score"] >= model.thresholds[index])
    assert row["model_sha256"] == model.sha256
    assert (row["face"], row["box"]) == (1, None), "it came aligned"
    assert 0.5 < row["score"] <= 1
    assert (probabilities[0] == [row[f"{name}_score"] for name in model.attributes]).all()
    assert row["release"] == RELEASE
    assert row["brightness"] == pytest.approx(image.mean(), abs=10)


def test_what_is_no_regular_file_goes_to_quarantine_in_seconds(folder, made, tmp_path):
    secret = tmp_path / "secret.jpg"
    shutil.copy(next(folder.glob("*.jpg")), secret)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(secret, tmp_path / "elsewhere/face.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "outside.jpg").symlink_to(secret)
    (folder / "more/folder").symlink_to(tmp_path / "elsewhere")
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(5 << 30)
    began = time.monotonic()
    scored, bad = score(folder, made.model, tmp_path / "scores.parquet", None, tmp_path / "quarantine")
    assert time.monotonic() - began < 30
    assert scored == 70
    assert bad == {
        "huge.jpg": "larger than 32 MiB",
        "more/folder": "a link, not a file",
        "outside.jpg": "a link, not a file",
        "pipe.jpg": "not a regular file",
        "zero.jpg": "a link, not a file",
    }
    assert quarantine.read(tmp_path / "quarantine/quarantine.csv") == bad
    assert (tmp_path / "quarantine/pipe.jpg").is_fifo()
    assert (tmp_path / "quarantine/more/folder").is_symlink()
    assert secret.exists()
    assert not any(os.path.lexists(folder / name) for name in bad)


def test_copies_of_an_image_have_its_digest_whatever_else_their_file_says(folder, made, tmp_path):
    jpeg = sorted(folder.glob("*.jpg"))[0].read_bytes()
    comment = b"\xff\xfe\x00\x07hello"
    (folder / "copy.jpg").write_bytes(jpeg)
    (folder / "commented.jpg").write_bytes(jpeg[:2] + comment + jpeg[2:])
    score(folder, made.model, tmp_path / "scores.parquet")
    digests = pq.read_table(tmp_path / "scores.parquet").column("digest")
    assert digests.null_count == 0
    assert (len(digests), len(digests.unique())) == (72, 70)


def test_a_photograph_has_a_row_for_each_of_its_faces(made, tmp_path):
    folder, faces = tmp_path / "incoming", sorted((made.faces / "img_align_celeba").iterdir())[:3]
    folder.mkdir()
    aligned = [images.decode(face.read_bytes()) for face in faces]
    places = [Place(150, 160, 110, 15), Place(480, 300, 140, -20)]
    for name, count in (("one.png", 1), ("two.png", 2)):
        photograph = scene(aligned[:count], places[:count], (640, 480))
        cv2.imwrite(str(folder / name), cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(folder / "none.png"), np.full((300, 300, 3), 90, np.uint8))
    shutil.copy(faces[0], folder / "two.png#2")
    scored, bad = score(folder, made.model, tmp_path / "scores.parquet", quarantine_folder=tmp_path / "bad")
    assert scored == 3
    assert bad == {
        "none.png": "no face found in 300x300 pixels; turn it upright, or send a sharper or larger view of "
        "the face; an aligned one has 178x218",
        "two.png#2": "a name that ends so is that of one of several faces; rename it",
    }
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert [(row["id"], row["face"]) for row in rows] == [("one.png", 1), ("two.png#1", 1), ("two.png#2", 2)]
    for row, place in zip(rows, [places[0], *places], strict=True):
        left, top, right, bottom = row["box"]
        assert left < place.x < right
        assert top < place.y < bottom
        assert 0.9 < row["score"] <= 1
    assert {path.name for path in (tmp_path / "bad").iterdir()} == {"none.png", "two.png#2", "quarantine.csv"}


def test_labels_find_the_faces_of_a_photograph(made, tmp_path):
    """A label is about a photograph of one face, or names the face."""
    from face_attributes.monitoring import score_files
    from face_attributes.monitoring.late_labels import LateLabels

    folder, out = tmp_path / "monday", tmp_path / "scores/date=2026-11-25/monday.parquet"
    folder.mkdir()
    faces = [
        images.decode(face.read_bytes()) for face in sorted((made.faces / "img_align_celeba").iterdir())[:2]
    ]
    two = scene(faces, [Place(150, 160, 110, 15), Place(480, 300, 140, -20)], (640, 480))
    cv2.imwrite(str(folder / "two.png"), cv2.cvtColor(two, cv2.COLOR_RGB2BGR))
    score(folder, made.model, out)
    labels = tmp_path / "monday.csv"
    labels.write_text("image_id,Male\ntwo.png,1\ntwo.png#2,-1\n")
    found = LateLabels([labels], ["Male"])
    (table,) = score_files.read([out], Model(made.model).sha256, ["Male"], digests=True)
    names = table.column(score_files.NAME).to_pylist()
    assert names == ["monday/two.png#1", "monday/two.png#2"]
    truths = [found.find(name) for name in names]
    assert [None if truth is None else bool(truth[0]) for truth in truths] == [
        None,
        False,
    ]


def test_scoring_again_gives_the_same_bytes(folder, made, tmp_path):
    for name in ("one", "two"):
        score(folder, made.model, tmp_path / name, RELEASE)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def spoil(folder):
    (folder / "000001.jpg").write_bytes((folder / "000001.jpg").read_bytes()[:1000])
    (folder / "more" / "notes.txt").write_text("hello")


def test_bad_files_are_told_and_stay(folder, made, tmp_path):
    spoil(folder)
    scored, bad = score(folder, made.model, tmp_path / "scores.parquet")
    assert scored == 69
    assert bad == {
        "000001.jpg": "truncated or corrupt JPEG: premature end of JPEG file",
        "more/notes.txt": "not a JPEG, PNG, WebP or HEIC",
    }
    metadata = pq.read_metadata(tmp_path / "scores.parquet").metadata
    assert json.loads(metadata[b"quarantined"]) == bad
    assert (folder / "000001.jpg").exists()
    assert pq.read_table(tmp_path / "scores.parquet").column("release").null_count == 69


def test_bad_files_move_where_they_are_told_to(folder, made, tmp_path):
    spoil(folder)
    quarantine = tmp_path / "quarantine"
    score(folder, made.model, tmp_path / "scores.parquet", quarantine_folder=quarantine)
    assert not (folder / "000001.jpg").exists()
    assert (quarantine / "more/notes.txt").read_text() == "hello"
    (folder / "000003.jpg").write_bytes(b"")
    score(folder, made.model, tmp_path / "scores.parquet", quarantine_folder=quarantine)
    rows = list(csv.DictReader((quarantine / "quarantine.csv").open()))
    assert [row["id"] for row in rows] == ["000001.jpg", "000003.jpg", "more/notes.txt"]
    assert rows[1]["reason"] == "empty file"


def test_not_one_usable_file(made, tmp_path):
    folder = tmp_path / "incoming"
    folder.mkdir()
    (folder / "a.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"not one of its 1 files can be used; a\.jpg: not a JPEG"):
        score(folder, made.model, tmp_path / "scores.parquet")
    assert (folder / "a.jpg").exists()
    with pytest.raises(DataError, match="not one of its 1 files can be used"):
        score(folder, made.model, tmp_path / "scores.parquet", quarantine_folder=tmp_path / "quarantine")
    assert not (folder / "a.jpg").exists()
    assert (tmp_path / "quarantine/a.jpg").read_text() == "hello"
    assert not (tmp_path / "scores.parquet").exists()


def test_the_figures_of_a_batch_are_those_of_its_rows(folder, made, tmp_path):
    spoil(folder)
    out, summary = tmp_path / "date=2026-11-25" / "monday.parquet", tmp_path / "date=2026-11-25/monday.json"
    score(folder, made.model, out, RELEASE, tmp_path / "quarantine", summary)
    fits("batch", summary.read_bytes())
    found, table = json.loads(summary.read_text()), pq.read_table(out)
    assert (found["batch"], found["day"], found["release"]) == ("monday", "2026-11-25", RELEASE)
    assert found["model_sha256"] == Model(made.model).sha256
    assert found["rows"] == table.num_rows == 69
    assert found["quarantined"] == {
        "not a JPEG, PNG, WebP or HEIC": 1,
        "truncated or corrupt JPEG: premature end of JPEG file": 1,
    }
    assert list(found["attributes"]) == list(Model(made.model).attributes)
    for name, figures in found["attributes"].items():
        scores = table.column(f"{name}_score").to_numpy().astype(float)
        assert figures["mean_score"] == pytest.approx(scores.mean(), abs=1e-6)
        assert figures["positive"] == pytest.approx(table.column(name).to_numpy().mean(), abs=1e-6)


def test_a_batch_of_nothing_usable_leaves_its_figures(made, tmp_path):
    folder = tmp_path / "incoming"
    folder.mkdir()
    (folder / "a.jpg").write_text("hello")
    with pytest.raises(DataError, match="not one of its 1 files"):
        score(folder, made.model, tmp_path / "a.parquet", summary=tmp_path / "a.json")
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["rows"], found["quarantined"], found["attributes"]) == (
        0,
        {"not a JPEG, PNG, WebP or HEIC": 1},
        {},
    )
    assert not (tmp_path / "a.parquet").exists()


@pytest.mark.parametrize("when", ["before it is listed", "while it is read"])
def test_a_folder_that_somebody_else_scores_and_takes_away(folder, made, tmp_path, monkeypatch, when):
    scores, quarantine = tmp_path / "scores.parquet", tmp_path / "quarantine"
    score(folder, made.model, scores, RELEASE)
    first = scores.read_bytes()
    owner, name = (Model, "__init__") if when == "before it is listed" else (images, "read")
    original, turn = getattr(owner, name), threading.Lock()

    def taken_away(*arguments, **options):
        # Images are read in several threads; one of them takes the folder away.
        with turn:
            if folder.exists():
                folder.rename(tmp_path / "scored")
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, taken_away)
    with pytest.raises(DataError, match="went away meanwhile; does another process score it too"):
        score(folder, made.model, scores, RELEASE, quarantine)
    assert scores.read_bytes() == first, "what the other one wrote stays"
    assert not quarantine.exists()


def test_nothing_to_score(made, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        score(tmp_path / "none", made.model, tmp_path / "scores.parquet")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images"):
        score(tmp_path / "empty", made.model, tmp_path / "scores.parquet")


def test_a_model_that_is_none_leaves_no_scores(folder, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"junk")
    with pytest.raises(ModelError):
        score(folder, tmp_path / "model.onnx", tmp_path / "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()


@pytest.mark.parametrize("place", ["out", "quarantine_folder", "summary"])
def test_nothing_is_written_into_the_folder_itself(folder, made, tmp_path, place):
    places = {"out": tmp_path / "scores.parquet", place: folder / "inner"}
    with pytest.raises(DataError, match="must lie outside"):
        score(folder, made.model, **places)


def test_memory_holds_a_few_batches_only(folder, made, tmp_path, monkeypatch):
    largest = 0
    describe = Model.describe

    def watched(self, batch):
        nonlocal largest
        largest = max(largest, len(batch))
        return describe(self, batch)

    monkeypatch.setattr(Model, "describe", watched)
    score(folder, made.model, tmp_path / "scores.parquet")
    assert largest == 64
    assert np.isfinite(pq.read_table(tmp_path / "scores.parquet").column("Male_score").to_numpy()).all()


LATIN = os.fsdecode(b"ren\xe9")


def test_a_name_that_is_not_utf8_costs_one_entry(folder, made, tmp_path):
    good = next(folder.glob("*.jpg"))
    shutil.copy(good, folder / f"{LATIN}.jpg")
    (folder / LATIN).mkdir()
    shutil.copy(good, folder / LATIN / "1.jpg")
    (folder / "ren\\xe9.jpg").write_bytes(b"hello")
    out, place = tmp_path / "scores.parquet", tmp_path / "quarantine"
    scored, bad = score(folder, made.model, out, None, place, tmp_path / "scores.json")
    assert scored == 70
    assert sorted(bad) == ["ren\\xe9.jpg", "ren\\xe9.jpg~2", "ren\\xe9/1.jpg"]
    assert sum("not UTF-8" in reason for reason in bad.values()) == 2
    assert json.loads(pq.read_metadata(out).metadata[b"quarantined"]) == bad
    assert json.loads((tmp_path / "scores.json").read_text())["rows"] == 70
    assert quarantine.read(place / "quarantine.csv") == bad
    assert (place / f"{LATIN}.jpg").read_bytes() == good.read_bytes()


def test_what_is_no_aligned_face_is_marked_and_counted(folder, made, tmp_path, caplog):
    """Its attributes look as certain as those of a face."""
    face = np.asarray(Image.open(next(folder.glob("*.jpg"))))
    far = cv2.resize(cv2.copyMakeBorder(face, 109, 109, 89, 89, cv2.BORDER_REPLICATE), (178, 218))
    noise = np.random.default_rng(1).integers(0, 255, face.shape, np.uint8)
    odd = {
        "black": face * 0,
        "white": face * 0 + 255,
        "noise": noise,
        "far": far,
        "low": np.roll(face, 110, 0),
    }
    for name, pixels in odd.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    Image.fromarray(np.roll(face, 15, 1)).save(folder / "shifted.png")
    out = tmp_path / "scores.parquet"
    assert score(folder, made.model, out) == (76, {})
    marked = {
        row["id"]: row["score"] < 0.5 for row in pq.read_table(out, columns=["id", "score"]).to_pylist()
    }
    unlike = {name for name, mark in marked.items() if mark}
    assert unlike >= {f"{name}.png" for name in odd}
    assert not marked["shifted.png"]
    assert len(unlike) <= 8  # a few drawn faces too
    assert f"score: {len(unlike)} of 76 faces are unlike an aligned face (score below 0.5)" in caplog.text


def test_a_photograph_that_lies_on_its_side_is_scored_upright(folder, made, tmp_path):
    """Viewers turn it as EXIF says, so nobody knows how it lies in the file."""
    upright = Image.open(next(folder.glob("*.jpg")))
    lying = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    turned = tmp_path / "turned"
    turned.mkdir()
    upright.save(turned / "1.png")
    for orientation, way in lying.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright.transpose(way).save(turned / f"{orientation}.png", exif=exif)
    out = tmp_path / "scores.parquet"
    assert score(turned, made.model, out) == (4, {})
    assert len(set(pq.read_table(out).column("digest").to_pylist())) == 1


@pytest.mark.parametrize(("name", "levels"), [("a", 1500), ("L" * 250, 30)])
def test_a_tree_that_is_too_deep_costs_one_entry(folder, made, tmp_path, name, levels):
    nest(folder, name, levels)
    place, again = tmp_path / "quarantine", tmp_path / "again.parquet"
    scored, bad = score(folder, made.model, tmp_path / "scores.parquet", None, place)
    assert scored == 70
    ((deep, reason),) = quarantine.read(place / "quarantine.csv").items()
    assert set(bad) == {deep}
    assert "a folder that cannot be read, or has 30 folders above it; move it up" in reason
    assert (place / deep).is_dir()
    assert score(folder, made.model, again) == (70, {})
    subprocess.run(["rm", "-r", place, folder], check=True)  # Python cannot


def test_a_file_with_the_longest_name_is_kept_beside_one_of_the_same_name(folder, made, tmp_path):
    place, name = tmp_path / "quarantine", "x" * 251 + ".jpg"
    for content in (b"one", b"two"):
        (folder / name).write_bytes(content)
        assert score(folder, made.model, tmp_path / "scores.parquet", None, place)[0] == 70
    files = sorted(path for path in place.iterdir() if path.name != "quarantine.csv")
    assert sorted(path.read_bytes() for path in files) == [b"one", b"two"]
    assert sorted(quarantine.read(place / "quarantine.csv")) == sorted(path.name for path in files)


def test_the_list_of_the_quarantine_never_shares_a_name_with_a_file_there(folder, made, tmp_path):
    place = tmp_path / "quarantine"
    (folder / "quarantine.csv").write_text("id,reason\nold.jpg,an old reason\n")
    (folder / "new.jpg").write_bytes(b"")
    score(folder, made.model, tmp_path / "scores.parquet", None, place)
    reasons = quarantine.read(place / "quarantine.csv")
    assert reasons == {"new.jpg": "empty file", "quarantine.csv~2": "not a JPEG, PNG, WebP or HEIC"}
    assert (place / "quarantine.csv~2").read_text().endswith("an old reason\n")
    (folder / "new.jpg").write_bytes(b"other")
    score(folder, made.model, tmp_path / "scores.parquet", None, place)
    assert (place / "new.jpg").read_bytes() == b""
    assert (place / "new.jpg~2").read_bytes() == b"other"
    assert set(quarantine.read(place / "quarantine.csv")) == {"new.jpg", "new.jpg~2", "quarantine.csv~2"}


def test_a_folder_with_the_name_of_the_list_keeps_its_files_under_the_name_that_is_listed(
    folder, made, tmp_path
):
    place, inner = tmp_path / "quarantine", folder / "quarantine.csv"
    for content in (b"one", b"two"):
        (inner / "deep").mkdir(parents=True, exist_ok=True)
        (inner / "bad.jpg").write_bytes(content)
        (inner / "deep/bad.jpg").write_bytes(content)
        score(folder, made.model, tmp_path / "scores.parquet", None, place)
    listed = quarantine.read(place / "quarantine.csv")
    assert len(listed) == 4
    assert sorted((place / name).read_bytes() for name in listed) == [b"one", b"one", b"two", b"two"]


@pytest.mark.parametrize("option", ["out", "summary"])
def test_no_result_has_the_name_of_the_quarantines_list(folder, made, tmp_path, option):
    place = tmp_path / "quarantine"
    places = {"out": tmp_path / "scores.parquet", option: place / "quarantine.csv"}
    with pytest.raises(FileError, match=r"quarantine\.csv: is the list of the quarantine; name another"):
        score(folder, made.model, quarantine_folder=place, **places)
    assert not place.exists()


def test_a_model_among_the_photographs_is_not_put_into_quarantine(folder, made, tmp_path):
    model = Path(shutil.copy(made.model, folder / "model.onnx"))
    with pytest.raises(DataError, match=r"model\.onnx: must lie outside"):
        score(folder, model, tmp_path / "scores.parquet", None, tmp_path / "quarantine")
    assert model.read_bytes() == made.model.read_bytes()


def test_another_table_in_place_of_the_list_is_kept(folder, made, tmp_path):
    place = tmp_path / "quarantine"
    place.mkdir()
    (place / "quarantine.csv").write_text("name;why\n")
    (folder / "new.jpg").write_bytes(b"")
    score(folder, made.model, tmp_path / "scores.parquet", None, place)
    assert quarantine.read(place / "quarantine.csv") == {"new.jpg": "empty file"}
    assert (place / "quarantine.csv~2").read_text() == "name;why\n"


def test_a_folder_that_cannot_be_entered_is_reported(folder, made, tmp_path, monkeypatch, caplog):
    walk = os.walk

    def refusing(top, onerror, **options):
        # Root may enter every folder, so the refusal is planted.
        for place, folders, files in walk(top, onerror=onerror, **options):
            if "closed" in folders:
                folders.remove("closed")
                onerror(PermissionError(13, "Permission denied", str(Path(place, "closed"))))
            yield place, folders, files

    (folder / "closed").mkdir()
    (folder / "closed/1.jpg").touch()
    monkeypatch.setattr(os, "walk", refusing)
    with caplog.at_level("INFO", "face_attributes"):
        scored, bad = score(folder, made.model, tmp_path / "scores.parquet")
    assert scored == 70
    assert list(bad) == ["closed"]
    assert "1 hidden files or folders are left out, such as .hidden" in caplog.text


@pytest.mark.parametrize("what", ["model", "device", "link", "folder", "other", "summary"])
def test_scores_never_take_the_place_of_something_else(folder, made, tmp_path, what):
    out, options = tmp_path / "scores.parquet", {}
    model = Path(shutil.copy(made.model, tmp_path / "model.onnx"))
    if what == "model":
        out = model
    elif what == "device":
        os.mkfifo(out)
    elif what == "link":
        out.symlink_to("elsewhere")
    elif what == "folder":
        out.mkdir()
    elif what == "other":
        out.write_text("my thesis")
    else:
        options["summary"] = out
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FileError, match=re.escape(f"{out}: ")):
        score(folder, model, out, **options)
    assert sorted(tmp_path.iterdir()) == before
    assert model.read_bytes() == made.model.read_bytes()
    if what == "other":
        assert out.read_text() == "my thesis"
