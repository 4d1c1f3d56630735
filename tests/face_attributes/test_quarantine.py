import pytest

from face_attributes.errors import DataError
from face_attributes.quarantine import Quarantine


def test_lists_names_and_reasons(tmp_path):
    quarantine = Quarantine(10, 0.2)
    quarantine.add("b.jpg", "empty file")
    quarantine.add("a.jpg", 'odd, "quoted"')
    quarantine.write(tmp_path / "quarantine.csv")
    assert (
        tmp_path / "quarantine.csv"
    ).read_text() == 'id,reason\na.jpg,"odd, ""quoted"""\nb.jpg,empty file\n'


def test_stops_above_its_share():
    quarantine = Quarantine(10, 0.1)
    quarantine.add("a.jpg", "empty file")
    with pytest.raises(DataError, match=r"2 of 10 images are bad so far \(2 empty file; the last is b.jpg\)"):
        quarantine.add("b.jpg", "empty file")


def test_a_share_of_nothing_allows_nothing():
    with pytest.raises(DataError):
        Quarantine(10, 0).add("a.jpg", "empty file")
