import itertools
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_attributes.common.errors import DataError
from face_attributes.data import images
from face_attributes.data.parallel import BATCH, ahead, decoded
from face_attributes.data.shards import ShardReader


def test_results_come_in_order():
    assert list(ahead(lambda number: number * number, range(1000))) == [number**2 for number in range(1000)]


def test_runs_only_a_little_ahead():
    started = itertools.count()
    results = ahead(lambda _: next(started), itertools.count())
    assert next(results) == 0
    results.close()
    assert next(started) <= 256 + 1


def test_an_error_reaches_the_reader_in_its_turn():
    def fail_at_three(number):
        if number == 3:
            raise ValueError("three")
        return number

    results = ahead(fail_at_three, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_leaves_no_thread_behind():
    before = threading.active_count()
    results = ahead(str, range(1000))
    next(results)
    results.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("partition", [None, "train", "validation"])
def test_rows_come_with_their_images(made, partition):
    expected = [
        (name, jpeg)
        for rows in ShardReader([made.sample]).batches(100)
        for name, jpeg, part in zip(rows.ids, rows.jpegs, rows.partitions, strict=True)
        if partition in (None, part)
    ]
    found = list(decoded(made.sample, partition))
    assert [name for rows, _ in found for name in rows.ids] == [name for name, _ in expected]
    assert all(len(rows) == len(pixels) <= BATCH for rows, pixels in found)
    pixels = np.concatenate([pixels for _, pixels in found])
    assert np.array_equal(pixels[3], images.decode(expected[3][1]))


def test_a_damaged_image_is_named(made, tmp_path):
    table = pq.read_table(made.sample)
    jpegs = [*table.column("jpeg").to_pylist()[:-1], b"junk"]
    pq.write_table(table.set_column(1, "jpeg", pa.array(jpegs, pa.binary())), tmp_path / "sample.parquet")
    last = table.column("id").to_pylist()[-1]
    with pytest.raises(DataError, match=rf"sample\.parquet: image {last}: not a JPEG"):
        list(decoded(tmp_path / "sample.parquet"))
