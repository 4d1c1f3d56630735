import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_attributes.common.errors import DataError
from face_attributes.data import shards
from face_attributes.data.shards import Rows, ShardReader, ShardWriter

NAMES = ("Smiling", "Male")


def rows(start, stop, part="train"):
    numbers = range(start, stop)
    return Rows(
        [f"{number:06d}.jpg" for number in numbers],
        [bytes([number % 256]) * 3 for number in numbers],
        [part] * len(numbers),
        np.array([[number % 2 == 0, number % 3 == 0] for number in numbers], bool).reshape(-1, 2),
    )


def written(path, *parts, one_file=False):
    with ShardWriter(path, NAMES, one_file) as writer:
        for part in parts:
            writer.write(part)


@pytest.mark.parametrize("count", [1, 1999, 2000, 2001, 4500])
def test_rows_come_back_in_order_from_shards_of_bounded_size(tmp_path, count):
    written(tmp_path, *(rows(start, min(start + 700, count)) for start in range(0, count, 700)))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"part-{n:05d}.parquet" for n in range(-(-count // 2000))]
    assert all(pq.read_metadata(file).num_rows <= 2000 for file in files)
    reader = ShardReader(files)
    assert reader.attributes == NAMES
    batches = list(reader.batches(300))
    expected = rows(0, count)
    assert max(map(len, batches)) <= 300
    assert [name for batch in batches for name in batch.ids] == expected.ids
    assert [jpeg for batch in batches for jpeg in batch.jpegs] == expected.jpegs
    assert np.array_equal(np.concatenate([batch.labels for batch in batches]), expected.labels)


def test_equal_rows_are_equal_bytes_however_they_arrive(tmp_path):
    for name, step in (("one", 7), ("two", 500)):
        (tmp_path / name).mkdir()
        written(tmp_path / name, *(rows(start, min(start + step, 2100)) for start in range(0, 2100, step)))
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_one_file(tmp_path):
    path = tmp_path / "holdout.parquet"
    written(path, rows(0, 2500, "test"), one_file=True)
    assert ShardReader([path]).partition_sizes() == {"train": 0, "validation": 0, "test": 2500}


def test_no_rows_are_still_a_shard(tmp_path):
    written(tmp_path)
    assert [len(batch) for batch in ShardReader(list(tmp_path.iterdir())).batches()] == []


def test_a_failed_block_writes_no_rest(tmp_path):
    with pytest.raises(OSError, match="full"), ShardWriter(tmp_path, NAMES) as writer:
        write_some_to(writer)
    assert not list(tmp_path.iterdir())


def write_some_to(writer):
    writer.write(rows(0, 10))
    raise OSError("the disk is full")


def test_nothing_to_read():
    with pytest.raises(DataError, match="run the stage collect first"):
        ShardReader([])


def table(**changes):
    columns = {
        "id": pa.array(["a"]),
        "jpeg": pa.array([b""]),
        "partition": pa.array(["test"]),
        "Male": pa.array([True]),
    }
    return pa.table({name: value for name, value in (columns | changes).items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jpeg": None}, "needs a column jpeg of type binary"),
        ({"id": pa.array([1])}, "needs a column id of type string"),
        ({"Male": pa.array([1])}, "attribute Male is int64, must be bool"),
        ({"Male": None}, "has no attributes"),
    ],
)
def test_a_foreign_table(tmp_path, changes, message):
    path = tmp_path / "file.parquet"
    pq.write_table(table(**changes), path)
    with pytest.raises(DataError, match=message):
        shards.attributes_of(path)


def test_what_is_no_table(tmp_path):
    path = tmp_path / "file.parquet"
    with pytest.raises(DataError, match="no such file"):
        shards.attributes_of(path)
    path.write_bytes(b"PAR1 hello PAR1")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        shards.attributes_of(path)


def test_shards_that_do_not_agree(tmp_path):
    pq.write_table(table(), tmp_path / "a.parquet")
    pq.write_table(table(Male=None, Young=pa.array([True])), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: has no attribute Male, which .*a\.parquet has"):
        ShardReader(sorted(tmp_path.iterdir()))


def test_the_first_file_says_which_attributes_and_the_order_is_the_callers(tmp_path):
    pq.write_table(table(id=pa.array(["b"])), tmp_path / "b.parquet")
    more = table(Young=pa.array([False])).select(["Young", "Male", "partition", "jpeg", "id"])
    pq.write_table(more, tmp_path / "a.parquet")
    reader = ShardReader([tmp_path / "b.parquet", tmp_path / "a.parquet"])
    assert reader.attributes == ("Male",)
    batches = list(reader.batches())
    assert [batch.ids for batch in batches] == [["b"], ["a"]]
    assert [batch.labels.tolist() for batch in batches] == [[[True]], [[True]]]


def test_an_id_that_is_there_twice(tmp_path):
    pq.write_table(table(), tmp_path / "a.parquet")
    pq.write_table(pa.concat_tables([table(id=pa.array(["b"])), table()]), tmp_path / "b.parquet")
    ShardReader([tmp_path / "a.parquet"]).check_ids()
    with pytest.raises(DataError, match=r"b\.parquet: image a was there before"):
        ShardReader([tmp_path / "a.parquet", tmp_path / "b.parquet"]).check_ids()


def test_an_unknown_part(tmp_path):
    pq.write_table(table(partition=pa.array(["exam"])), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="partition 'exam'"):
        ShardReader([tmp_path / "a.parquet"]).partition_sizes()
