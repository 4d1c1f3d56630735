import shlex

import pytest

from face_attributes.common.errors import DataError
from face_attributes.data import labelled_batches


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("part-00001", "part-00000"):
        (folder / f"{name}.parquet").touch()
    return folder


@pytest.fixture
def batches(tmp_path):
    folder = tmp_path / "labelled"
    folder.mkdir()
    for name in ("tuesday", "monday", "fri.day"):
        (folder / f"{name}.parquet").touch()
        (folder / f"{name}.parquet.dvc").touch()
    return folder


def test_raw_data_comes_first_then_the_batches_by_name(raw, batches):
    assert [path.name for path in labelled_batches.training_shards(raw, batches)] == [
        "part-00000.parquet",
        "part-00001.parquet",
        "fri.day.parquet",
        "monday.parquet",
        "tuesday.parquet",
    ]


def test_no_batches(raw, tmp_path):
    assert len(labelled_batches.training_shards(raw, tmp_path / "none")) == 2


def test_batches_alone_are_no_training_data(tmp_path, batches):
    with pytest.raises(DataError, match="run the stage collect first"):
        labelled_batches.training_shards(tmp_path / "none", batches)


def test_a_batch_that_was_not_pulled_is_not_left_out(raw, batches):
    (batches / "tuesday.parquet").unlink()
    with pytest.raises(
        DataError, match=r"tuesday\.parquet: .* not here; run dvc pull .*/tuesday\.parquet\.dvc$"
    ):
        labelled_batches.training_shards(raw, batches)
    (batches / "monday.parquet").unlink()
    with pytest.raises(
        DataError, match=r"monday\.parquet: .* nor are those of 1 more; run dvc pull .* .*tuesday"
    ):
        labelled_batches.training_shards(raw, batches)


def test_a_file_that_git_does_not_know_is_not_read(raw, batches):
    (batches / "monday.parquet.dvc").unlink()
    with pytest.raises(DataError, match=r"monday\.parquet: is no labelled batch of this commit"):
        labelled_batches.training_shards(raw, batches)


@pytest.mark.parametrize("name", ["my batch", "it's", "-rf", "a$(b)"])
def test_the_command_that_brings_a_batch_names_it_as_a_shell_takes_it(raw, batches, name):
    pointer = batches / f"{name}.parquet.dvc"
    pointer.touch()
    with pytest.raises(DataError) as error:
        labelled_batches.training_shards(raw, batches)
    assert shlex.split(str(error.value).rpartition("; run ")[2]) == ["dvc", "pull", str(pointer)]


def test_a_stray_file_is_named_on_one_line(raw, batches):
    (batches / "a\nb\udcff.parquet").touch()
    with pytest.raises(DataError, match=r"a\\nb\\xff\.parquet: is no labelled batch") as error:
        labelled_batches.training_shards(raw, batches)
    assert "\n" not in str(error.value)
    str(error.value).encode()
