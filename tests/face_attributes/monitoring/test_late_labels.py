import re

import numpy as np
import pytest

from face_attributes.common.errors import DataError
from face_attributes.monitoring import late_labels
from face_attributes.monitoring.late_labels import LateLabels

ATTRIBUTES = ["Smiling", "Male"]


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a list: `write("monday", {"1.jpg": (1, -1)})`."""

    def make(name, rows, header="image_id,Male,Young,Smiling"):
        path = tmp_path / f"{name}.csv"
        lines = [f"{image},{male},1,{smiling}" for image, (smiling, male) in rows.items()]
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    return make


def test_images_are_named_within_their_batch_or_by_batch_and_path(write):
    labels = LateLabels(
        [
            write("monday", {"1.jpg": (1, -1), "more/2.jpg": (-1, -1), "monday/3.jpg": (1, 1)}),
            write("week", {"tuesday/1.jpg": (-1, 1)}),
        ],
        ATTRIBUTES,
    )
    assert len(labels) == 4
    expected = {
        "monday/1.jpg": [True, False],
        "monday/more/2.jpg": [False, False],
        "monday/3.jpg": [True, True],
        "tuesday/1.jpg": [False, True],
    }
    for name, truth in expected.items():
        assert labels.find(name).tolist() == truth
    assert labels.find("tuesday/2.jpg") is None


def test_two_lists_may_agree_but_not_contradict_each_other(write):
    first = write("monday", {"1.jpg": (1, -1)})
    assert not LateLabels([first, write("again", {"monday/1.jpg": (1, -1)})], ATTRIBUTES).left_out
    labels = LateLabels([first, write("again", {"monday/1.jpg": (1, 1), "monday/2.jpg": (1, 1)})], ATTRIBUTES)
    (reason,) = labels.left_out
    assert re.search(r"again\.csv: contradicts .*monday\.csv about monday/1\.jpg", reason)
    assert labels.find("monday/1.jpg").tolist() == [True, False]
    assert labels.find("monday/2.jpg") is None
    assert len(labels) == 1


def test_a_list_that_contradicts_itself_is_left_out_alone(write):
    first = write("monday", {"1.jpg": (1, -1), "monday/1.jpg": (1, 1)})
    labels = LateLabels([first, write("tuesday", {"1.jpg": (1, 1)})], ATTRIBUTES)
    (reason,) = labels.left_out
    assert re.search(r"monday\.csv: labels monday/1\.jpg twice and differently; remove a label", reason)
    assert labels.contradictions == []
    assert labels.find("monday/1.jpg") is None
    assert labels.find("tuesday/1.jpg").tolist() == [True, True]


_UNUSABLE = {
    "a missing column": ({"1.jpg": (1, 1)}, "image_id,Male,Young,Bald", r"no column for Smiling"),
    "a value": ({"1.jpg": (0, 1)}, "image_id,Male,Young,Smiling", r":2: Smiling is '0', must be -1 or 1"),
    "no rows": ({}, "image_id,Male,Young,Smiling", r"no "),
    "nothing": ({}, "", r"monday\.csv"),
    **{
        name: ({name: (1, 1)}, "image_id,Male,Young,Smiling", r":2: .* is not a file name")
        for name in ("../1.jpg", "/etc/1.jpg", "a//1.jpg")
    },
}


@pytest.mark.parametrize(("rows", "header", "reason"), _UNUSABLE.values(), ids=_UNUSABLE)
def test_a_list_that_cannot_be_used_is_named_and_the_others_count(write, caplog, rows, header, reason):
    labels = LateLabels([write("monday", rows, header), write("tuesday", {"1.jpg": (1, 1)})], ATTRIBUTES)
    (left_out,) = labels.left_out
    assert "monday.csv" in left_out
    assert re.search(reason, left_out)
    assert left_out in caplog.text
    assert (len(labels), labels.find("monday/1.jpg")) == (1, None)
    assert labels.find("tuesday/1.jpg").tolist() == [True, True]


def test_lists_are_found_in_folders(write, tmp_path):
    one, two = write("monday", {"1.jpg": (1, 1)}), write("tuesday", {"1.jpg": (1, 1)})
    (tmp_path / "README.md").touch()
    (tmp_path / ".wednesday.csv").touch()
    assert late_labels.files_in([tmp_path]) == [one, two]
    assert late_labels.files_in([two]) == [two]
    with pytest.raises(DataError, match="none: no such file or folder"):
        late_labels.files_in([tmp_path / "none"])
    assert np.array_equal(LateLabels([one], ATTRIBUTES).find("monday/1.jpg"), [True, True])
