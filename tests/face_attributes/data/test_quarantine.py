import csv

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8)))
@example({"=1+1": "x", "+1": "@x", "'=1": "-1", "''": "'", "\t=1": "\r", "\n=1": 'a,b"c'})
def test_no_cell_is_a_formula_and_every_name_is_read_back(tmp_path_factory, reasons):
    reasons = {key: value for key, value in reasons.items() if key.isprintable() and value.isprintable()}
    path = tmp_path_factory.mktemp("quarantine") / "quarantine.csv"
    write(path, reasons)
    with path.open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert read(path) == reasons
