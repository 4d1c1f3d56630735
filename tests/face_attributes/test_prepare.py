import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_attributes import images, prepared
from face_attributes.collect import collect
from face_attributes.errors import DataError
from face_attributes.prepare import prepare
from face_attributes.shards import ShardReader


@pytest.fixture
def raw(celeba_folder, data_params, monkeypatch, tmp_path):
    monkeypatch.setenv("CELEBA_DIR", str(celeba_folder()))
    collect(data_params(), tmp_path / "raw")
    return tmp_path / "raw"


def run(tiny, raw, labelled, home):
    prepare(tiny.prepare, raw, labelled, home / "prepared", home / "holdout.parquet", home / "sample.parquet")
    return prepared.load(home / "prepared")


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


def test_labelled_batches_are_added_and_change_the_digest(tiny, raw, tmp_path):
    before = run(tiny, raw, tmp_path / "none", tmp_path / "one").info
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    table = pq.read_table(raw / "part-00000.parquet").slice(0, 9)
    columns = ["id", "Male", "Young", "Smiling", "jpeg", "partition"]
    batch = table.append_column("Young", pa.array([True] * 9))
    for name in ("tuesday", "monday"):
        ids = pa.array([f"{name}/{number}.jpg" for number in range(9)])
        # Columns in another order are the same attributes, and one more is none of the training's
        pq.write_table(batch.set_column(0, "id", ids).select(columns), labelled / f"{name}.parquet")
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


def test_an_image_that_is_in_two_batches(tiny, raw, tmp_path):
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    pq.write_table(pq.read_table(raw / "part-00000.parquet"), labelled / "again.parquet")
    (labelled / "again.parquet.dvc").touch()
    with pytest.raises(DataError, match=r"again\.parquet: image 000001\.jpg was there before"):
        run(tiny, raw, labelled, tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
    assert not list((tmp_path / "out").iterdir())
