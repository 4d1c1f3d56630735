import csv
import os
import unicodedata
from pathlib import Path

import pytest

from face_attributes.common.errors import DataError
from face_attributes.data import celeba
from face_attributes.monitoring import gather as module
from face_attributes.monitoring.gather import GatherResult, gather


@pytest.fixture
def place(tmp_path, monkeypatch, jpeg):
    """Return a function that makes a scored batch with some labels: `place("monday", images=4, labels=3)`."""
    monkeypatch.setattr(module, "MINIMUM", 3)

    def make(batch, images=4, labels=4, attributes=("Smiling", "Male")):
        folder = tmp_path / "scored" / batch
        (folder / "deep").mkdir(parents=True)
        names = [f"{'deep/' * (index % 2)}{index}, ä.JPG" for index in range(images)]
        for index, name in enumerate(names):
            (folder / name).write_bytes(jpeg(index + 100 * len(batch)))
        (folder / ".hidden.jpg").write_bytes(b"")
        (tmp_path / "labels").mkdir(exist_ok=True)
        lines = [",".join(['"' + name + '"', *["1"] * len(attributes)]) for name in names[:labels]]
        path = tmp_path / f"labels/{batch}.csv"
        path.write_text("\n".join([",".join(["image_id", *attributes]), *lines]) + "\n")
        return folder

    return make


def run(tmp_path, name):
    return gather(tmp_path / "scored", tmp_path / "labels", tmp_path / "labelled", name)


def made(tmp_path, name) -> Path:
    """Gather, and return the folder."""
    folder = run(tmp_path, name).folder
    assert folder is not None
    return folder


def images(folder):
    return sorted(path.name for path in folder.glob("*.jpg"))


def test_images_with_labels_become_a_folder_that_append_takes(place, tmp_path):
    place("monday", images=5, labels=4)
    place("tuesday", images=3, labels=3, attributes=("Male", "Young", "Smiling"))
    found = run(tmp_path, "prod-1")
    assert found == GatherResult(tmp_path / "labelled/prod-1", 7)
    folder = tmp_path / "labelled/prod-1"
    assert images(folder) == [f"{number:06d}.jpg" for number in range(1, 8)]
    columns, ids, values = celeba.read_attributes(folder / "list_attr_celeba.csv")
    assert (columns, ids) == (["Smiling", "Male"], images(folder))
    assert values.all()
    listing = celeba.read_batch(folder, ["Smiling", "Male"], "prod-1")
    assert (len(listing), listing.unlisted) == (7, ())


def test_an_image_is_gathered_once_and_what_gets_its_label_later_comes_later(place, tmp_path):
    place("monday", images=4, labels=4)
    first = run(tmp_path, "prod-1")
    place("tuesday", images=5, labels=2)
    assert run(tmp_path, "prod-2") == GatherResult(None, 2)
    assert not (tmp_path / "labelled/prod-2").exists()
    place("wednesday", images=2, labels=2)
    second = run(tmp_path, "prod-2")
    assert second.images == 4
    assert run(tmp_path, "prod-2") == second, "a retry changes nothing"
    assert run(tmp_path, "prod-1") == first
    assert run(tmp_path, "prod-3") == GatherResult(None, 0)


def test_of_a_batch_that_came_again_the_later_images_are_meant(place, tmp_path):
    first = place("monday")
    again = place("monday~2")
    (tmp_path / "labels/monday~2.csv").unlink()
    found = made(tmp_path, "prod-1")
    read = {path.read_bytes() for path in found.glob("*.jpg")}
    assert read == {path.read_bytes() for path in again.rglob("[0-9]*.JPG")}
    assert read.isdisjoint(path.read_bytes() for path in first.rglob("[0-9]*.JPG"))


def arrive(folder):
    """Mark the folder of a scored batch as one that has a name of its own."""
    (folder / ".visage-arrival").write_text(f"{folder.name}\n")


def test_arrivals_of_one_name_are_told_apart(place, tmp_path, caplog):
    first, again = place("monday"), place("monday~2")
    arrive(first)
    arrive(again)
    found = made(tmp_path, "prod-1")
    read = {path.read_bytes() for path in found.glob("*.jpg")}
    assert read == {path.read_bytes() for folder in (first, again) for path in folder.rglob("[0-9]*.JPG")}


def test_a_label_that_may_mean_either_of_two_arrivals_is_left_out(place, tmp_path, caplog):
    first, again = place("monday", images=9, labels=9), place("monday~2", images=2)
    arrive(first)
    arrive(again)
    (tmp_path / "labels/monday~2.csv").unlink()
    assert run(tmp_path, "prod-1").images == 7
    assert "gather: 2 labels are left out, such as that of monday/0, ä.JPG" in caplog.text


def test_names_with_commas_and_line_breaks_are_gathered_once(place, tmp_path):
    folder = place("monday")
    odd = ["photo.v1,2", 'a"b,c.jpg', "line\u2028end.jpg", "new\nline.jpeg"]
    with (tmp_path / "labels/monday.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image_id", "Smiling"], *([name, "1"] for name in odd)])
    for number, name in enumerate(odd):
        (folder / name).write_bytes(b"%d" % number)
    found = made(tmp_path, "prod-1")
    _, ids, _ = celeba.read_attributes(found / "list_attr_celeba.csv")
    assert sorted(ids) == sorted(path.name for path in found.glob("0*"))
    assert len(ids) == 4
    assert run(tmp_path, "prod-2") == GatherResult(None, 0)


def test_a_list_of_windows_is_read_and_anything_else_is_named(place, tmp_path, caplog):
    place("monday")
    (tmp_path / "labels/monday.csv").rename(tmp_path / "labels/monday.CSV")
    (tmp_path / "labels/monday.xlsx").touch()
    (tmp_path / "labels/.late.csv").touch()
    for name in ("more", "old.csv"):
        (tmp_path / "labels" / name).mkdir()
    assert run(tmp_path, "prod-1").images == 4
    assert [line.rpartition("/")[2] for line in caplog.messages] == [
        ".late.csv is not read: its name begins with a dot",
        "monday.xlsx is not read: its name does not end in .csv or .txt",
        "more is not read: it is a folder; put the lists themselves here",
        "old.csv is not read: it is a folder; put the lists themselves here",
    ]
    for number in range(1000):
        (tmp_path / f"labels/z{number}.xlsx").touch()
    caplog.clear()
    run(tmp_path, "prod-2")
    assert [line for line in caplog.messages if "not read" in line][-1].startswith("labels: 984 more entries")


def test_images_are_linked_where_that_is_possible(place, tmp_path, monkeypatch):
    source = place("monday")
    target = made(tmp_path, "prod-1") / "000001.jpg"
    assert any(target.samefile(path) for path in source.rglob("[0-9]*.JPG"))
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("another file system")))
    place("tuesday")
    assert len(images(run(tmp_path, "prod-2").folder)) == 4


def test_nothing_is_made_of_nothing(place, tmp_path):
    assert run(tmp_path, "prod-1") == GatherResult(None, 0)
    place("monday", labels=1)
    (tmp_path / "labels/monday.csv").unlink()
    assert run(tmp_path, "prod-1") == GatherResult(None, 0)
    assert not (tmp_path / "labelled").exists()


def test_lists_that_cannot_be_used_are_named(place, tmp_path):
    place("monday", attributes=("Smiling",))
    place("tuesday", attributes=("Male",))
    with pytest.raises(DataError, match="labels: no attribute has a column in every list"):
        run(tmp_path, "prod-1")
    assert not (tmp_path / "labelled/prod-1").exists()


def test_a_list_that_cannot_be_used_stops_no_other(place, tmp_path, caplog):
    place("monday", attributes=("Smiling",))
    faults = {
        "bad": ("image_id,Smiling\n1.jpg,yes\n", "bad.csv:2: Smiling is 'yes', must be -1 or 1"),
        "empty": ("", "empty.csv: ends before its header"),
        "other": (
            "image_id,Smiling\nmonday/1.jpg,1\nmonday/1.jpg,-1\n",
            "other.csv: monday/1.jpg is listed twice",
        ),
    }
    for name, (content, _) in faults.items():
        (tmp_path / f"labels/{name}.csv").write_text(content)
    (tmp_path / "labels/week.csv").write_text("image_id,Smiling\nfriday/1.jpg,1\n")
    with caplog.at_level("INFO"):
        assert run(tmp_path, "prod-1").images == 4
    for _, fault in faults.values():
        assert f"labels: a list is left out, the others are not: {tmp_path}/labels/{fault}" in caplog.text
    assert "week.csv: no scored image has one of its labels, such as that of " in caplog.text


def test_of_two_lists_that_contradict_each_other_the_second_is_left_out(place, tmp_path, caplog):
    place("monday", attributes=("Smiling",))
    with (tmp_path / "labels/monday.csv").open(newline="") as file:
        names = [row["image_id"] for row in csv.DictReader(file)]
    with (tmp_path / "labels/tuesday.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image_id", "Smiling"], *([f"monday/{name}", "-1"] for name in names)])
    assert run(tmp_path, "prod-1").images == 4
    assert "the others are not: " in caplog.text
    assert "tuesday.csv: contradicts " in caplog.text


@pytest.mark.parametrize(
    "name", ["a b", "a\nb", "-rf", "x.csv", "~2", "%41", "a,b", "=1+1", "a\\b", "x" * 200]
)
def test_an_odd_name_of_a_batch_is_a_name_like_any_other(place, tmp_path, name):
    place(name)
    folder = made(tmp_path, "prod-1")
    assert len(images(folder)) == 4
    sources = celeba.read_sources(folder).values()
    assert {source.rpartition("/")[0].removesuffix("/deep") for source in sources} == {name}
    assert run(tmp_path, "prod-2").images == 0


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_list_of_another_system_has_the_accents_of_its_batch(place, tmp_path, form):
    place(unicodedata.normalize(form, "größe"))
    other = "NFD" if form == "NFC" else "NFC"
    for path in (tmp_path / "labels").iterdir():
        path.write_text(unicodedata.normalize(other, path.read_text()))
        path.rename(path.with_name(unicodedata.normalize(other, path.name)))
    assert run(tmp_path, "prod-1").images == 4


def test_a_batch_whose_name_is_not_utf8_costs_one_line(place, tmp_path, caplog):
    place("a\udcffb")
    place("monday")
    assert run(tmp_path, "prod-1").images == 4
    assert [line for line in caplog.messages if "rename it" in line] == [
        f"{tmp_path}/scored/a\\xffb: left out: its name is not UTF-8; rename it"
    ]


def test_a_file_in_the_place_of_the_new_batch_is_named(place, tmp_path):
    place("monday")
    (tmp_path / "labelled").mkdir()
    (tmp_path / "labelled/prod-1").write_text("mine")
    with pytest.raises(DataError, match=r"prod-1: a file, where .* belongs; move it away"):
        run(tmp_path, "prod-1")
    assert (tmp_path / "labelled/prod-1").read_text() == "mine"
