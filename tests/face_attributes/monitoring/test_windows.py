from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_attributes.monitoring.score_files import NAME, DateRange
from face_attributes.monitoring.windows import cut


@pytest.fixture
def days(tmp_path):
    """Return a function that writes a file of scores for each day of January with as many images as said."""

    def write(counts, model="a", digests=None):
        files = []
        for day, count in counts.items():
            path = tmp_path / f"date=2026-01-{day:02d}/batch{day}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = {"id": [f"{index}.jpg" for index in range(count)], "light": [float(day)] * count}
            if digests:
                columns["digest"] = pa.array([digests(day, index) for index in range(count)], pa.binary(16))
            pq.write_table(pa.table(columns | {"model_sha256": [model] * count}), path)
            files.append(path)
        return files

    return write


def windows(files, minimum=10, at_most=100, latest=7):
    return cut(files, "a", ["light"], minimum=minimum, at_most=at_most, latest=latest)


def january(first, last):
    return DateRange(date(2026, 1, first), date(2026, 1, last))


def test_a_day_with_enough_images_is_a_window(days):
    found = windows(days({5: 10, 3: 12, 4: 30}))
    assert [(one.days, one.rows) for one in found] == [
        (january(3, 3), 12),
        (january(4, 4), 30),
        (january(5, 5), 10),
    ]
    assert found[1].table.column("light").to_pylist() == [4.0] * 30
    assert found[0].note() == {
        "since": "2026-01-03",
        "until": "2026-01-03",
        "rows": 12,
        "rows_used": 12,
        "repeated": 0,
    }


def test_days_with_few_join_the_next_and_the_last_ones_the_window_before(days):
    found = windows(days({1: 4, 2: 5, 3: 6, 6: 20, 7: 7, 9: 2}))
    assert [(one.days, one.rows) for one in found] == [(january(1, 3), 15), (january(6, 9), 29)]
    assert set(found[1].table.column("light").to_pylist()) == {6.0, 7.0, 9.0}


def test_too_few_are_a_small_window_and_none_are_none(days):
    (one,) = windows(days({1: 4, 2: 5}))
    assert (one.days, one.rows) == (january(1, 2), 9)
    assert windows([]) == []
    assert windows(days({1: 40}, model="b")) == []


def test_the_latest_windows_are_looked_at(days):
    found = windows(days(dict.fromkeys(range(1, 10), 10)), latest=3)
    assert [one.days for one in found] == [january(day, day) for day in (7, 8, 9)]


def test_of_a_large_window_a_sample(days):
    (one,) = windows(days({1: 60, 2: 60}), minimum=100, at_most=50)
    assert (one.rows, one.table.num_rows) == (120, 50)
    assert len(set(one.table.column(NAME).to_pylist())) == 50
    assert set(one.table.column("light").to_pylist()) == {1.0, 2.0}


def test_files_in_no_folder_of_a_day_are_one_window(days, tmp_path):
    (file,) = days({1: 30})
    by_hand = file.rename(tmp_path / "by-hand.parquet")
    found = windows([by_hand, *days({1: 10})])
    assert [(one.days, one.rows) for one in found] == [(DateRange(), 30), (january(1, 1), 10)]


def _digest(*parts):
    return "-".join(map(str, parts)).encode().ljust(16)


def test_an_image_that_is_scored_twice_counts_once(days):
    found = windows(days({1: 40, 2: 30}, digests=lambda day, index: _digest(day, index // 2)))
    assert [(one.rows, one.repeated, one.table.num_rows) for one in found] == [(20, 20, 20), (15, 15, 15)]


def test_an_image_counts_on_the_first_day_that_it_was_scored(days):
    found = windows(days({1: 30, 2: 25, 3: 12}, digests=lambda day, index: _digest(index + 20 * (day > 2))))
    assert [(one.days, one.rows, one.repeated) for one in found] == [(january(1, 3), 32, 35)]


def test_repeats_do_not_fill_a_window(days):
    files = days({1: 12, 2: 12, 3: 12}, digests=lambda day, index: _digest(index % 6 + 6 * (day > 1)))
    assert [(one.days, one.rows, one.repeated) for one in windows(files)] == [(january(1, 3), 12, 24)]


def test_files_without_digests_still_count_row_by_row(days, tmp_path):
    old = days({1: 20})
    new = days({2: 20}, digests=lambda day, index: _digest(index // 2))
    assert [(one.rows, one.repeated) for one in windows([*old, *new])] == [(20, 0), (10, 10)]
    assert windows([*old, *new])[1].table.column_names == [NAME, "light"]
