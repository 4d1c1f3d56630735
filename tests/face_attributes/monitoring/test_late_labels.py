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
    LateLabels([first, write("again", {"monday/1.jpg": (1, -1)})], ATTRIBUTES)
    with pytest.raises(DataError, match=r"again\.csv: contradicts .*monday\.csv about monday/1\.jpg"):
        LateLabels([first, write("again", {"monday/1.jpg": (1, 1)})], ATTRIBUTES)


def test_a_list_that_cannot_be_used(write):
    with pytest.raises(DataError, match=r"monday\.csv: no column for Smiling"):
        LateLabels([write("monday", {"1.jpg": (1, 1)}, header="image_id,Male,Young,Bald")], ATTRIBUTES)
    with pytest.raises(DataError, match=r"monday\.csv:2: Smiling is '0', must be -1 or 1"):
        LateLabels([write("monday", {"1.jpg": (0, 1)})], ATTRIBUTES)
    for name in ("../1.jpg", "/etc/1.jpg", "a//1.jpg"):
        with pytest.raises(DataError, match=r"monday\.csv:2: .* is not a file name"):
            LateLabels([write("monday", {name: (1, 1)})], ATTRIBUTES)


def test_lists_are_found_in_folders(write, tmp_path):
    one, two = write("monday", {"1.jpg": (1, 1)}), write("tuesday", {"1.jpg": (1, 1)})
    (tmp_path / "README.md").touch()
    (tmp_path / ".wednesday.csv").touch()
    assert late_labels.files_in([tmp_path]) == [one, two]
    assert late_labels.files_in([two]) == [two]
    with pytest.raises(DataError, match="none: no such file or folder"):
        late_labels.files_in([tmp_path / "none"])
    assert np.array_equal(LateLabels([one], ATTRIBUTES).find("monday/1.jpg"), [True, True])
