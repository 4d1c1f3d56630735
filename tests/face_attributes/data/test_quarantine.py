import pytest

from face_attributes.common.errors import DataError
from face_attributes.data.quarantine import Quarantine, read, write


def test_lists_names_and_reasons(tmp_path):
    quarantine = Quarantine(10, 0.2)
    quarantine.add("b.jpg", "empty file")
    quarantine.add("a.jpg", 'odd, "quoted"')
    write(tmp_path / "quarantine.csv", quarantine.reasons)
    assert (
        tmp_path / "quarantine.csv"
    ).read_text() == 'id,reason\na.jpg,"odd, ""quoted"""\nb.jpg,empty file\n'


def test_what_is_written_is_read(tmp_path):
    reasons = {"a.jpg": 'odd, "quoted"', "b.jpg": "empty file"}
    write(tmp_path / "quarantine.csv", reasons)
    assert read(tmp_path / "quarantine.csv") == reasons
    assert read(tmp_path / "none.csv") == {}


def test_stops_above_its_share():
    quarantine = Quarantine(10, 0.1)
    quarantine.add("a.jpg", "empty file")
    with pytest.raises(DataError, match=r"2 of 10 images are bad so far \(2 empty file; the last is b.jpg\)"):
        quarantine.add("b.jpg", "empty file")


def test_a_share_of_nothing_allows_nothing():
    with pytest.raises(DataError):
        Quarantine(10, 0).add("a.jpg", "empty file")
