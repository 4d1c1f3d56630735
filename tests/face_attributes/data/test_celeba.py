from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from face_attributes.common.errors import DataError
from face_attributes.data import celeba, groups

NAMES = ("Smiling", "Male")


@pytest.mark.parametrize("flavour", ["txt", "csv"])
@pytest.mark.parametrize("partition", [True, False])
def test_reads_both_flavours(celeba_folder, flavour, partition):
    listing = celeba.read(celeba_folder(flavour=flavour, partition=partition), NAMES)
    assert len(listing) == 60
    assert listing.ids[:2] == ("000001.jpg", "000002.jpg")
    assert listing.labels[:4].tolist() == [[False, False], [True, False], [False, True], [True, True]]
    if partition:
        assert listing.partitions[:4].tolist() == [0, 1, 2, 0]
    else:
        assert set(listing.partitions) == {0, 1, 2}
    assert listing.unlisted == ()


def test_attributes_come_in_the_order_asked_for(celeba_folder):
    folder = celeba_folder()
    one, other = celeba.read(folder, ("Smiling", "Male")), celeba.read(folder, ("Male", "Smiling"))
    assert np.array_equal(one.labels, other.labels[:, ::-1])
    assert celeba.read(folder, ("Male",)).labels.shape == (60, 1)


@pytest.mark.parametrize("flavour", ["txt", "csv"])
def test_windows_line_ends_and_a_byte_order_mark_are_accepted(celeba_folder, flavour):
    folder = celeba_folder(flavour=flavour)
    usual = celeba.read(folder, NAMES)
    for path in folder.glob("list_*"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    windows = celeba.read(folder, NAMES)
    assert windows.ids == usual.ids
    assert np.array_equal(windows.labels, usual.labels)
    assert np.array_equal(windows.partitions, usual.partitions)


@pytest.mark.parametrize("inner", ["img_align_celeba/img_align_celeba", "Img/img_align_celeba"])
def test_images_nested_as_some_archives_nest_them(celeba_folder, inner):
    folder = celeba_folder()
    (folder / "img_align_celeba").rename(folder / "images")
    (folder / inner).parent.mkdir()
    (folder / "images").rename(folder / inner)
    assert celeba.read(folder, NAMES).images == folder / inner


@pytest.mark.parametrize("flavour", ["txt", "csv"])
def test_who_is_on_an_image_is_known_where_a_list_says_so(celeba_folder, flavour):
    folder = celeba_folder()
    assert celeba.read(folder, NAMES).people is None
    names = [f"{number:06d}.jpg" for number in range(1, 70)]
    rows = [
        f"{name}{',' if flavour == 'csv' else ' '}{2880 + index // 3}" for index, name in enumerate(names)
    ]
    head = ["image_id,identity"] if flavour == "csv" else []
    (folder / "Anno").mkdir()
    (folder / "Anno" / f"identity_CelebA.{flavour}").write_text("\n".join([*head, *rows]) + "\n")
    people = celeba.read(folder, NAMES).people
    assert (len(people), people[:4], people[-1]) == (60, ("2880", "2880", "2880", "2881"), "2899")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("000060.jpg", r"identity_CelebA.txt:60: must be a file name and the number or name of a person"),
        ("000059.jpg 4", r"identity_CelebA.txt:60: 000059.jpg is listed twice"),
        (
            "000061.jpg 4",
            r"identity_CelebA.txt: does not list 000060.jpg",
        ),
    ],
)
def test_a_list_of_people_that_is_malformed_or_lacks_images(celeba_folder, line, message):
    folder = celeba_folder()
    rows = [f"{number:06d}.jpg 4" for number in range(1, 60)]
    (folder / "identity_CelebA.txt").write_text("\n".join([*rows, line]) + "\n")
    with pytest.raises(DataError, match=message):
        celeba.read(folder, NAMES)


def test_files_that_no_list_names(celeba_folder):
    folder = celeba_folder()
    (folder / "img_align_celeba" / "extra.jpg").touch()
    (folder / "img_align_celeba" / ".hidden").touch()
    assert celeba.read(folder, NAMES).unlisted == ("extra.jpg",)


@pytest.mark.parametrize("partition", [True, False])
def test_images_that_are_listed_but_not_there(celeba_folder, partition):
    folder = celeba_folder(partition=partition)
    whole = celeba.read(folder, NAMES)
    gone = ("000001.jpg", "000030.jpg", "000060.jpg")
    for name in gone:
        (folder / "img_align_celeba" / name).unlink()
    part = celeba.read(folder, NAMES)
    kept = [index for index, name in enumerate(whole.ids) if name not in gone]
    assert part.ids == tuple(whole.ids[index] for index in kept)
    assert np.array_equal(part.labels, whole.labels[kept])
    assert np.array_equal(part.partitions, whole.partitions[kept])
    assert (whole.absent, part.absent) == (0, 3)


def test_a_partition_list_need_not_name_images_that_are_not_there(celeba_folder):
    folder = celeba_folder()
    (folder / "img_align_celeba" / "000003.jpg").unlink()
    edited(folder, "list_eval_partition.txt", "000003.jpg 2\n", "")
    assert len(celeba.read(folder, NAMES)) == 59


def test_an_empty_image_folder(celeba_folder):
    folder = celeba_folder()
    for path in (folder / "img_align_celeba").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"img_align_celeba: holds none of the 60 images that .*\.txt lists"):
        celeba.read(folder, NAMES)


def edited(folder, name, before, after):
    path = folder / name
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("list_attr_celeba.txt", "60\n", "61\n", "list_attr_celeba.txt:1: declares 61 images, but 60 follow"),
        (
            "list_attr_celeba.txt",
            "60\n",
            "",
            "list_attr_celeba.txt:1: must be the number of images, is 'Smil",
        ),
        ("list_attr_celeba.txt", "Smiling Male", "Male", "list_attr_celeba.txt:3: 2 values for 1 attributes"),
        ("list_attr_celeba.txt", "Smiling", "Smirking", "no column for Smiling"),
        ("list_attr_celeba.txt", "Smiling", "Male", "column Male appears twice"),
        (
            "list_attr_celeba.txt",
            "000003.jpg -1",
            "000003.jpg 0",
            "list_attr_celeba.txt:5: Smiling is '0', must be -1",
        ),
        ("list_attr_celeba.txt", "000003.jpg", "000002.jpg", "000002.jpg is listed twice"),
        (
            "list_attr_celeba.txt",
            "000003.jpg",
            "../3.jpg",
            "list_attr_celeba.txt:5: '../3.jpg' is not a file name",
        ),
        (
            "list_eval_partition.txt",
            "000003.jpg 2",
            "000003.jpg 3",
            "list_eval_partition.txt:3: must be a file name",
        ),
        (
            "list_eval_partition.txt",
            "000003.jpg 2\n",
            "",
            "list_eval_partition.txt: does not list 000003.jpg",
        ),
        (
            "list_eval_partition.txt",
            "000003.jpg",
            "000002.jpg",
            "list_eval_partition.txt:3: 000002.jpg is listed twice",
        ),
    ],
)
def test_one_line_says_what_is_wrong_and_where(celeba_folder, name, before, after, message):
    folder = celeba_folder()
    edited(folder, name, before, after)
    with pytest.raises(DataError) as caught:
        celeba.read(folder, NAMES)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_csv_list_must_begin_with_its_identifier(celeba_folder):
    folder = celeba_folder(flavour="csv")
    edited(folder, "list_attr_celeba.csv", "image_id", "file")
    with pytest.raises(DataError, match="the first column must be image_id, is 'file'"):
        celeba.read(folder, NAMES)


def test_what_is_no_such_folder(tmp_path, celeba_folder):
    with pytest.raises(DataError, match="no such folder"):
        celeba.read(tmp_path / "none", NAMES)
    with pytest.raises(DataError, match=r"holds no list_attr_celeba\.txt"):
        celeba.read(tmp_path, NAMES)
    folder = celeba_folder(count=0)
    with pytest.raises(DataError, match="lists no images"):
        celeba.read(folder, NAMES)
    (folder / "img_align_celeba").rmdir()
    with pytest.raises(DataError, match="holds no folder img_align_celeba"):
        celeba.read(folder, NAMES)


def test_a_list_that_is_no_text(celeba_folder):
    folder = celeba_folder()
    (folder / "list_attr_celeba.txt").write_bytes(b"60\n\xff\xfe\xfa")
    with pytest.raises(DataError, match="is not a text file in UTF-8"):
        celeba.read(folder, NAMES)


def test_a_sample_is_stable_and_in_order(celeba_folder):
    listing = celeba.read(celeba_folder(), NAMES)
    some, more = listing.sample(20), listing.sample(30)
    assert len(some) == 20
    assert sorted(some) == list(some)
    assert set(some) < set(more)
    assert listing.sample(None).tolist() == list(range(60)) == listing.sample(600).tolist()


identifiers = st.lists(
    st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=12),
    min_size=1,
    unique=True,
)


@given(
    names=identifiers, seed=st.integers(0, 99), flavour=st.sampled_from(["txt", "csv"]), windows=st.booleans()
)
def test_what_is_written_is_read(tmp_path_factory, names, seed, flavour, windows):
    labels = np.random.default_rng(seed).random((len(names), 3)) < 0.5
    parts = np.random.default_rng(seed).integers(0, 3, len(names))
    separator, gap = (",", ",") if flavour == "csv" else (" ", "  ")
    rows = [
        name + gap + separator.join("1" if on else "-1" for on in row)
        for name, row in zip(names, labels, strict=True)
    ]
    head = ["image_id,A,B,C"] if flavour == "csv" else [str(len(names)), "A B C"]
    part_head = ["image_id,partition"] if flavour == "csv" else []
    part_rows = [f"{name}{separator}{part}" for name, part in zip(names, parts, strict=True)]
    folder = tmp_path_factory.mktemp("lists")
    end = "\r\n" if windows else "\n"
    write(folder / f"a.{flavour}", end.join([*head, *rows]) + end)
    write(folder / f"p.{flavour}", end.join([*part_head, *part_rows]) + end)
    columns, ids, values = celeba.read_attributes(folder / f"a.{flavour}")
    assert columns == ["A", "B", "C"]
    assert ids == names
    assert np.array_equal(values, labels)
    assert celeba.read_partition(folder / f"p.{flavour}") == dict(zip(names, parts.tolist(), strict=True))


def write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())


@given(text=st.text(max_size=200), flavour=st.sampled_from(["txt", "csv"]))
def test_no_text_is_too_odd_for_one_line(tmp_path_factory, text, flavour):
    path = tmp_path_factory.mktemp("odd") / f"list.{flavour}"
    write(path, text)
    for read in (celeba.read_attributes, celeba.read_partition, celeba.read_identity):
        complaint = complaint_of(read, path)
        assert complaint is None or (complaint.startswith(str(path)) and "\n" not in complaint)


def complaint_of(read, path):
    try:
        read(path)
    except DataError as error:
        return str(error)
    return None


@given(st.text(min_size=1))
def test_a_hash_splits_for_ever_alike(name):
    assert groups.hash_partition(name) == groups.hash_partition(name)
    assert groups.hash_partition(name) in (0, 1, 2)


def test_a_hash_splits_eight_to_one_to_one():
    parts = np.bincount([groups.hash_partition(f"{index:06d}.jpg") for index in range(5000)]) / 5000
    np.testing.assert_allclose(parts, [0.8, 0.1, 0.1], atol=0.02)


@pytest.mark.parametrize("flavour", ["txt", "csv"])
def test_a_batch_may_be_a_plain_folder(celeba_folder, flavour):
    folder = celeba_folder(attributes=("Smiling", "Male", "Friendly"), flavour=flavour, partition=True)
    (folder / "unlisted.JPG").touch()
    (folder / "notes.md").touch()
    nested = celeba.read_batch(folder, ("Smiling",), "monday")
    for path in (folder / "img_align_celeba").iterdir():
        path.rename(folder / path.name)
    (folder / "img_align_celeba").rmdir()
    plain = celeba.read_batch(folder, ("Smiling",), "monday")
    assert (nested.images, plain.images) == (folder / "img_align_celeba", folder)
    assert (nested.unlisted, plain.unlisted) == ((), ("unlisted.JPG",))
    assert plain.ids == nested.ids
    # CelebA's attributes in CelebA's order, whichever are learnt now
    assert plain.attributes == ("Male", "Smiling")
    assert plain.labels[:3].tolist() == [[False, False], [False, True], [True, False]]


def test_a_batch_needs_every_attribute_that_is_learnt(celeba_folder):
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt: no column for Young"):
        celeba.read_batch(celeba_folder(), ("Smiling", "Young"), "monday")


def test_an_empty_folder_of_the_same_name_does_not_hide_the_images(celeba_folder):
    folder = celeba_folder()
    (folder / celeba.IMAGES / celeba.IMAGES).mkdir()
    assert len(celeba.read(folder, NAMES)) == 60


@pytest.mark.parametrize("archive", ["img_align_celeba.zip", "img.7z"])
def test_an_archive_that_nobody_unpacked_is_named(celeba_folder, archive):
    folder = celeba_folder()
    (folder / archive).touch()
    (folder / celeba.IMAGES).rename(folder / "elsewhere")
    with pytest.raises(DataError, match=f"holds no folder img_align_celeba.*unpack {archive}"):
        celeba.read(folder, NAMES)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("image_id;Smiling;Male", "columns are separated by commas, not by ';'"),
        ("image_id\tSmiling\tMale", "columns are separated by commas, not by"),
        ("image_id,Smiling,Male,", "column 4 has no name; is there a comma at the end"),
    ],
)
def test_a_list_that_is_nearly_right_is_told_the_reason(tmp_path, header, says):
    path = tmp_path / "monday.CSV"
    path.write_text(f"{header}\n")
    with pytest.raises(DataError, match=says):
        celeba.read_attributes(path)
