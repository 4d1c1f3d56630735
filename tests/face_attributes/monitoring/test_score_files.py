from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_attributes.common.errors import DataError
from face_attributes.monitoring import score_files
from face_attributes.monitoring.score_files import ALL, NAME, DateRange


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file of scores: `write("date=2026-01-01/monday", rows=3)`."""

    def make(name, rows=3, model="a", **columns):
        path = tmp_path / "scores" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = {
            "id": [f"{index}.jpg" for index in range(rows)],
            "Smiling_score": [index / 10 for index in range(rows)],
            "model_sha256": [model] * rows,
        }
        pq.write_table(pa.table(table | columns), path)
        return path

    return make


def names(table):
    return table.column(NAME).to_pylist()


def test_files_are_found_in_folders_of_any_depth_but_those_in_the_making(write, tmp_path):
    one, two = write("date=2026-01-01/monday"), write("date=2026-01-02/tuesday")
    write("date=2026-01-02/.wednesday.parquet.1.partial")
    one.with_suffix(".json").write_text('{"batch": "monday"}')
    assert score_files.files_in([tmp_path / "scores"], ALL) == [one, two]
    assert score_files.files_in([two, two], ALL) == [two]
    with pytest.raises(DataError, match="none: no such file or folder"):
        score_files.files_in([tmp_path / "none"], ALL)


def test_days_count_from_the_first_through_the_last(write, tmp_path):
    paths = [write(f"date=2026-01-0{day}/batch{day}") for day in range(1, 6)]
    undated = write("by-hand/batch")
    days = DateRange(date(2026, 1, 2), date(2026, 1, 4))
    assert score_files.files_in([tmp_path / "scores"], days) == sorted([*paths[1:4], undated])
    assert score_files.files_in([tmp_path / "scores"], DateRange(until=date(2026, 1, 1))) == sorted(
        [paths[0], undated]
    )
    assert days.note() == {"since": "2026-01-02", "until": "2026-01-04"}
    assert ALL.note() == {"since": None, "until": None}


def test_only_the_rows_of_the_model_are_read(write):
    mine, theirs = write("monday"), write("tuesday", model="b", Smiling_score=[None] * 3)
    mixed = write("wednesday", model="a", model_sha256=["b", "a", "b"])
    tables = list(score_files.read([mine, theirs, mixed], "a", ["Smiling_score"]))
    assert [names(table) for table in tables] == [
        ["monday/0.jpg", "monday/1.jpg", "monday/2.jpg"],
        ["wednesday/1.jpg"],
    ]
    assert tables[1].to_pylist() == [{NAME: "wednesday/1.jpg", "Smiling_score": 0.1}]


def test_a_file_that_cannot_be_read_is_named(write):
    path = write("monday")
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-50]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"monday\.parquet: not a readable file of scores") as caught:
            list(score_files.read([path], "a", ["Smiling_score"]))
        assert "\n" not in str(caught.value)


def test_a_file_that_lacks_something_is_named(write, tmp_path):
    with pytest.raises(DataError, match=r"monday\.parquet: .*: no column Male_score"):
        list(score_files.read([write("monday")], "a", ["Smiling_score", "Male_score"]))
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"other\.parquet: .*: no column model_sha256"):
        list(score_files.read([tmp_path / "other.parquet"], "a", []))
    with pytest.raises(DataError, match=r"tuesday\.parquet: has empty values"):
        list(score_files.read([write("tuesday", Smiling_score=[0.1, None, 0.2])], "a", ["Smiling_score"]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_file_with_what_is_no_number_is_named(write, value):
    path = write("monday")
    table = pq.read_table(path, partitioning=None)
    column = table.column_names.index("Smiling_score")
    scores = table.column(column).to_numpy().copy()
    scores[-1] = value
    pq.write_table(table.set_column(column, "Smiling_score", pa.array(scores)), path)
    with pytest.raises(DataError, match=r"monday\.parquet: Smiling_score has values that are no numbers"):
        list(score_files.read([path], "a", ["Smiling_score"]))


def test_a_sample_is_the_same_whatever_the_files_and_their_order(write):
    files = [write(f"batch{index}", rows=40) for index in range(10)]

    def sampled(paths):
        return score_files.sample(score_files.read(paths, "a", ["Smiling_score"]), 25)

    table, seen = sampled(files)
    again, _ = sampled(files[::-1])
    assert (table.num_rows, seen) == (25, 400)
    assert set(names(table)) == set(names(again))
    assert len({name.split("/")[0] for name in names(table)}) > 5
    few, seen = sampled(files[:1][:1])
    assert (few.num_rows, seen) == (25, 40)
    assert score_files.sample(iter(()), 25) == (None, 0)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"id": [1, 2, 3]}, "id is no text"),
        ({"model_sha256": [1, 2, 3]}, "model_sha256 is no text"),
        ({"Smiling": ["yes", "no", "no"]}, "Smiling is string, not true or false"),
        ({"Smiling": [1.0, 0.0, 0.0]}, "Smiling is double, not true or false"),
        ({"brightness": ["dark", "light", "light"]}, "brightness has values that are no numbers"),
        ({"brightness": [True, False, True]}, "brightness has values that are no numbers"),
    ],
)
def test_a_column_of_another_type_is_named_with_its_file(write, columns, problem):
    path = write("monday", **{"Smiling": [True] * 3, "brightness": [0.5] * 3, **columns})
    with pytest.raises(DataError, match=rf"monday\.parquet: .*{problem}"):
        list(score_files.read([path], "a", ["Smiling", "Smiling_score", "brightness"]))


def test_files_with_numbers_of_another_precision_count_together(write):
    one = write("monday", brightness=pa.array([0.25] * 3, pa.float32()))
    two = write("tuesday", brightness=pa.array([0.5] * 3, pa.float64()))
    table, seen = score_files.sample(score_files.read([one, two], "a", ["brightness"]), 10)
    assert seen == 6
    assert sorted(table.column("brightness").to_pylist()) == [0.25] * 3 + [0.5] * 3
