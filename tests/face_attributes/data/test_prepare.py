import logging

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_attributes.common.errors import DataError
from face_attributes.data import arrays, images
from face_attributes.data.collect import collect
from face_attributes.data.prepare import prepare
from face_attributes.data.shards import ShardReader


@pytest.fixture
def raw(celeba_folder, data_params, monkeypatch, tmp_path):
    monkeypatch.setenv("CELEBA_DIR", str(celeba_folder()))
    collect(data_params(), tmp_path / "raw")
    return tmp_path / "raw"


def run(tiny, raw, labelled, home):
    prepare(tiny.prepare, raw, labelled, home / "prepared", home / "holdout.parquet", home / "sample.parquet")
    return arrays.load(home / "prepared")


def test_each_part_goes_where_it_belongs(tiny, raw, tmp_path):
    data = run(tiny, raw, tmp_path / "none", tmp_path / "out")
    rows = next(ShardReader(list(raw.glob("*.parquet"))).batches(60))
    for part, name in ((data.train, "train"), (data.validation, "validation")):
        expected = [index for index, other in enumerate(rows.partitions) if other == name]
        assert part.images.shape == (20, 36, 29, 3)
        assert np.array_equal(part.labels, rows.labels[expected])
        assert np.array_equal(part.images[3], images.shrink(images.decode(rows.jpegs[expected[3]]), 6))
    holdout = next(ShardReader([tmp_path / "out/holdout.parquet"]).batches(60))
    assert set(holdout.partitions) == {"test"}
    assert holdout.jpegs == [
        jpeg for jpeg, part in zip(rows.jpegs, rows.partitions, strict=True) if part == "test"
    ]
    assert data.info.attributes == ("Smiling", "Male")
    assert (data.info.train, data.info.validation, data.info.shrink) == (20, 20, 6)


def test_the_same_shards_give_the_same_bytes(tiny, raw, tmp_path):
    digests = [run(tiny, raw, tmp_path / "none", tmp_path / name).info.digest for name in ("one", "two")]
    assert digests[0] == digests[1]
    assert (tmp_path / "one/holdout.parquet").read_bytes() == (tmp_path / "two/holdout.parquet").read_bytes()


def test_some_images_of_both_parts_are_kept_as_they_were(tiny, raw, tmp_path):
    few = tiny.model_copy(update={"prepare": tiny.prepare.model_copy(update={"sample": 5})})
    run(few, raw, tmp_path / "none", tmp_path / "out")
    rows = next(ShardReader(list(raw.glob("*.parquet"))).batches(60))
    sample = next(ShardReader([tmp_path / "out/sample.parquet"]).batches(60))
    assert sorted(sample.partitions) == ["train"] * 5 + ["validation"] * 5
    for name, jpeg, part, labels in zip(
        sample.ids, sample.jpegs, sample.partitions, sample.labels, strict=True
    ):
        index = rows.ids.index(name)
        assert (jpeg, part) == (rows.jpegs[index], rows.partitions[index])
        assert np.array_equal(labels, rows.labels[index])


def test_a_sample_larger_than_a_part_is_the_part(tiny, raw, tmp_path):
    run(tiny, raw, tmp_path / "none", tmp_path / "out")
    assert pq.read_table(tmp_path / "out/sample.parquet").num_rows == 40


def test_labelled_batches_are_added_and_change_the_digest(tiny, raw, jpeg, tmp_path):
    before = run(tiny, raw, tmp_path / "none", tmp_path / "one").info
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    table = pq.read_table(raw / "part-00000.parquet").slice(0, 9)
    columns = ["id", "Male", "Young", "Smiling", "jpeg", "partition"]
    batch = table.append_column("Young", pa.array([True] * 9))
    for start, name in ((100, "tuesday"), (200, "monday")):
        ids = pa.array([f"{name}/{number}.jpg" for number in range(9)])
        others = pa.array([jpeg(start + number) for number in range(9)], pa.binary())
        named = batch.set_column(0, "id", ids).set_column(1, "jpeg", others)
        # Columns in another order are the same attributes, and one more is none of the training's
        pq.write_table(named.select(columns), labelled / f"{name}.parquet")
        (labelled / f"{name}.parquet.dvc").touch()
    after = run(tiny, raw, labelled, tmp_path / "two")
    assert after.info.attributes == before.attributes
    assert (after.info.train, after.info.validation) == (before.train + 6, before.validation + 6)
    assert after.info.digest != before.digest
    train = table.filter(pa.compute.equal(table.column("partition"), "train"))
    smiling = train.column("Smiling").to_pylist()
    assert after.train.labels[-6:, after.info.attributes.index("Smiling")].tolist() == smiling * 2
    holdout = pq.read_table(tmp_path / "two/holdout.parquet")
    assert holdout.column("id").to_pylist()[-6:] == [
        f"{name}/{number}.jpg" for name in ("monday", "tuesday") for number in (2, 5, 8)
    ]


def test_a_batch_that_lacks_an_attribute_is_left_out_with_a_way_out(tiny, raw, tmp_path, caplog):
    before = run(tiny, raw, tmp_path / "none", tmp_path / "one").info
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    table = pq.read_table(raw / "part-00000.parquet").drop_columns("Male")
    pq.write_table(table, labelled / "drawn.parquet")
    (labelled / "drawn.parquet.dvc").touch()
    assert run(tiny, raw, labelled, tmp_path / "two").info == before
    [line, total] = [line for line in caplog.messages if "left out" in line]
    assert "drawn.parquet is left out: no attribute Male" in line
    assert f"git rm {labelled}/drawn.parquet.dvc" in line
    assert total == f"prepare: {table.num_rows} images of 1 labelled batches are left out in all"


def test_an_image_that_is_in_two_batches(tiny, raw, tmp_path):
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    pq.write_table(pq.read_table(raw / "part-00000.parquet"), labelled / "again.parquet")
    (labelled / "again.parquet.dvc").touch()
    with pytest.raises(DataError, match=r"again\.parquet: image 000001\.jpg was there before"):
        run(tiny, raw, labelled, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def batch(raw, tmp_path):
    """Return a function that appends a labelled batch of rows (JPEG, part, labels of Smiling and Male)."""
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    schema = pq.read_schema(raw / "part-00000.parquet")

    def write(name, rows):
        jpegs, parts, labels = zip(*rows, strict=True)
        columns = {
            "id": [f"{name}/{number}.jpg" for number in range(len(rows))],
            "jpeg": jpegs,
            "partition": parts,
            "Smiling": [smiling for smiling, _ in labels],
            "Male": [male for _, male in labels],
        }
        pq.write_table(pa.table(columns, schema), labelled / f"{name}.parquet")
        (labelled / f"{name}.parquet.dvc").touch()
        return labelled

    return write


def again(jpeg, quality=60, mirrored=False, cut=0):
    """The same photograph as another file, or `cut` pixels further left."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    image = np.concatenate([image[:, :1]] * cut + [image[:, : image.shape[1] - cut]], axis=1)
    image = image[:, ::-1] if mirrored else image
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def names(path):
    return pq.read_table(path).column("id").to_pylist()


def rows_of(raw, part):
    table = pq.read_table(raw / "part-00000.parquet")
    kept = table.filter(pa.compute.equal(table.column("partition"), part)).to_pylist()
    return [(row["jpeg"], (row["Smiling"], row["Male"])) for row in kept]


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize(
    "saved",
    [lambda jpeg: jpeg, again, lambda jpeg: again(jpeg, 80, True)],
    ids=["as is", "again", "mirrored"],
)
def test_photographs_of_the_hold_out_set_come_in_with_no_batch(
    tiny, raw, batch, jpeg, tmp_path, caplog, part, saved
):
    caplog.set_level(logging.INFO)
    before = run(tiny, raw, tmp_path / "none", tmp_path / "one")
    held_out = rows_of(raw, "test")
    assert len(held_out) == 20
    other = [(jpeg(500), "train", (True, True)), (jpeg(501), "validation", (True, True))]
    labelled = batch("monday", [*((saved(image), part, labels) for image, labels in held_out), *other])
    caplog.clear()
    after = run(tiny, raw, labelled, tmp_path / "two")
    assert names(tmp_path / "two/holdout.parquet") == names(tmp_path / "one/holdout.parquet")
    assert (after.info.train, after.info.validation, after.info.left_out) == (21, 21, 20)
    assert np.array_equal(after.train.images[:20], before.train.images)
    assert np.array_equal(after.validation.images[:20], before.validation.images)
    assert names(tmp_path / "two/sample.parquet")[-2:] == ["monday/20.jpg", "monday/21.jpg"]
    said = caplog.text
    assert "20 photographs are left out, as they are there already: 20 test, 0 validation, 0 train" in said
    assert "0 of them had other labels" in said


def test_another_cut_of_a_photograph_is_left_out_of_other_parts_alone(tiny, raw, batch, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    image, labels = rows_of(raw, "test")[0]
    rows = [(again(image, 90, True, cut), part, labels) for cut, part in ((9, "train"), (4, "validation"))]
    labelled = batch("monday", [*rows, (again(image, 90, cut=13), "test", labels)])
    data = run(tiny, raw, labelled, tmp_path / "out")
    assert (data.info.train, data.info.validation, data.info.left_out) == (20, 20, 2)
    assert names(tmp_path / "out/holdout.parquet")[-1] == "monday/2.jpg"
    assert "2 test, 0 validation, 0 train; 0 of them had other labels" in caplog.text
    assert "and 2 are another cut" in caplog.text


def test_a_photograph_under_two_names_judges_and_is_not_learnt(tiny, raw, batch, jpeg, tmp_path):
    one, both = (True, False), (True, True)
    batch("monday", [(jpeg(500), "train", one), (jpeg(501), "validation", one), (jpeg(502), "train", one)])
    labelled = batch("tuesday", [(again(jpeg(500)), "test", both), (again(jpeg(501)), "train", one)])
    data = run(tiny, raw, labelled, tmp_path / "out")
    assert names(tmp_path / "out/holdout.parquet")[-1] == "tuesday/0.jpg"
    assert (data.info.train, data.info.validation, data.info.left_out) == (21, 21, 2)
    assert np.array_equal(data.train.images[-1], images.shrink(images.decode(jpeg(502)), 6))
    assert np.array_equal(data.validation.images[-1], images.shrink(images.decode(jpeg(501)), 6))


def test_a_batch_whose_own_parts_share_a_photograph(tiny, raw, batch, jpeg, tmp_path):
    labelled = batch("monday", [(jpeg(500), "train", (True, True)), (again(jpeg(500)), "test", (True, True))])
    data = run(tiny, raw, labelled, tmp_path / "out")
    assert names(tmp_path / "out/holdout.parquet")[-1] == "monday/1.jpg"
    assert (data.info.train, data.info.left_out) == (20, 1)


def test_a_photograph_that_was_learnt_cannot_judge(tiny, raw, batch, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (image, (smiling, male)), *_ = rows_of(raw, "train")
    labelled = batch("monday", [(again(image), "test", (not smiling, male))])
    before = run(tiny, raw, tmp_path / "none", tmp_path / "one")
    after = run(tiny, raw, labelled, tmp_path / "two")
    assert after.info.digest == before.info.digest
    assert (tmp_path / "two/holdout.parquet").read_bytes() == (tmp_path / "one/holdout.parquet").read_bytes()
    said = "0 test, 0 validation, 1 train; 1 of them had other labels, which do not count"
    assert said in caplog.text


def test_parts_of_the_raw_data_share_no_photograph(tiny, raw, tmp_path):
    table = pq.read_table(raw / "part-00000.parquet")
    jpegs = table.column("jpeg").to_pylist()
    # In order train, validation, test, train, ...: the first two show the third, and the fourth the seventh
    jpegs[0] = jpegs[1] = jpegs[2]
    jpegs[3] = jpegs[6]
    pq.write_table(table.set_column(1, "jpeg", pa.array(jpegs, pa.binary())), raw / "part-00000.parquet")
    data = run(tiny, raw, tmp_path / "none", tmp_path / "out")
    assert len(names(tmp_path / "out/holdout.parquet")) == 20
    assert (data.info.train, data.info.validation, data.info.left_out) == (19, 19, 2)


def test_an_empty_part_is_said(tiny, raw, tmp_path):
    table = pq.read_table(raw / "part-00000.parquet")
    only = table.filter(pa.compute.not_equal(table.column("partition"), "validation"))
    pq.write_table(only, raw / "part-00000.parquet")
    with pytest.raises(DataError, match="no validation images"):
        run(tiny, raw, tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_shards(tiny, tmp_path):
    with pytest.raises(DataError, match="run the stage collect first"):
        run(tiny, tmp_path, tmp_path / "none", tmp_path / "out")


def test_a_damaged_image_leaves_nothing_half_written(tiny, raw, tmp_path):
    table = pq.read_table(raw / "part-00000.parquet")
    jpegs = [b"", *table.column("jpeg").to_pylist()[1:]]
    pq.write_table(table.set_column(1, "jpeg", pa.array(jpegs, pa.binary())), raw / "part-00000.parquet")
    with pytest.raises(DataError, match=r"image 000001\.jpg: empty file; run the stage collect again"):
        run(tiny, raw, tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()
