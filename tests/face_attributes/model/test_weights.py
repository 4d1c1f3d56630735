import shutil

import pytest
import torch

from face_attributes.common.errors import ModelError
from face_attributes.model import weights


def test_what_is_saved_is_loaded(made, tiny, data, tmp_path):
    trained = weights.load(made.weights)
    assert trained.attributes == data.info.attributes
    assert trained.shrink == 6
    assert trained.profile == "full"
    assert trained.data_digest == data.info.digest
    assert len(trained.thresholds) == len(trained.attributes)
    assert not trained.network.training
    weights.save(trained, tmp_path / "copy.pt")
    again = weights.load(tmp_path / "copy.pt")
    assert all(
        torch.equal(value, again.network.state_dict()[name])
        for name, value in trained.network.state_dict().items()
    )


def test_equal_weights_are_equal_bytes_whatever_the_file_is_called(made, tmp_path):
    weights.save(weights.load(made.weights), tmp_path / "other name.pt")
    assert (tmp_path / "other name.pt").read_bytes() == made.weights.read_bytes()


def test_no_training_yet(tmp_path):
    with pytest.raises(ModelError, match="run the stage train first"):
        weights.load(tmp_path / "model.pt")


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_truncated_file(made, tmp_path, keep):
    path = tmp_path / "model.pt"
    shutil.copy(made.weights, path)
    with path.open("r+b") as file:
        file.truncate(keep)
    with pytest.raises(ModelError, match="run the stage train again") as caught:
        weights.load(path)
    assert "\n" not in str(caught.value)


def test_a_foreign_file(tmp_path):
    torch.save({"something": 1}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="damaged"):
        weights.load(tmp_path / "model.pt")
