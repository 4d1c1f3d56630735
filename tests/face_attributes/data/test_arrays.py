import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from face_attributes.common.errors import DataError
from face_attributes.data import arrays


def test_images_are_mapped_not_loaded(data):
    assert isinstance(data.train.images, np.memmap)
    assert data.train.images.dtype == data.train.labels.dtype == np.uint8
    assert len(data.train) == data.info.train
    assert set(np.unique(data.train.labels)) == {0, 1}


def test_the_first_of_a_part(data):
    first = data.train.first(5)
    assert len(first) == 5
    assert np.array_equal(first.images, data.train.images[:5])


def resident(path):
    """Return how many kB of a file this process holds."""
    entries = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    return sum(int(re.search(r"Rss: +(\d+)", entry)[1]) for entry in entries if str(path) in entry)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what a process holds")
def test_what_was_read_is_given_back(made, tmp_path):
    shutil.copytree(made.prepared, tmp_path / "own")
    images = tmp_path / "own/train_images.npy"
    part = arrays.load(tmp_path / "own").train
    some = part.first(100)
    before = some.images.sum()
    assert resident(images) > 100
    some.release()
    assert resident(images) == 0
    assert some.images.sum() == before


def test_what_is_in_memory_anyway_stays(data):
    part = arrays.Part(np.array(data.train.images[:3]), data.train.labels[:3])
    part.release()
    assert np.array_equal(part.images, data.train.images[:3])


def test_what_is_written_is_read(tmp_path):
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (7, 36, 29, 3), np.uint8), random.random((7, 4)) < 0.5
    with arrays.PartWriter(tmp_path, "train", 7, (36, 29), 4) as writer:
        for image, row in zip(images, labels, strict=True):
            writer.append(image, row)
    assert np.array_equal(np.load(tmp_path / "train_images.npy"), images)
    assert np.array_equal(np.load(tmp_path / "train_labels.npy"), labels)


def test_damaged_arrays_are_not_read(made, tmp_path):
    with pytest.raises(DataError, match="run the stage prepare first"):
        arrays.load(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(made.prepared, copy)
    (copy / "train_images.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="damaged"):
        arrays.load(copy)


def test_arrays_that_do_not_agree_are_not_used(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made.prepared, copy)
    info = json.loads((copy / "prepared.json").read_text())
    (copy / "prepared.json").write_text(json.dumps(info | {"train": 1}))
    with pytest.raises(DataError, match="damaged"):
        arrays.load(copy)
