import pytest

from face_attributes.common.errors import SearchError
from face_attributes.params import SEARCHED
from face_attributes.training import hyperparameters

FOUND = {"learning_rate": 0.1, "weight_decay": 0.2, "dropout": 0.3, "width": 16, "augmentation": 0.5}


def test_what_is_written_is_read(tmp_path):
    hyperparameters.write(tmp_path / "best.json", FOUND, trial=3)
    assert hyperparameters.read(tmp_path / "best.json") == FOUND
    assert set(FOUND) == set(SEARCHED)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"learning_rate": 1}'])
def test_what_no_search_wrote(tmp_path, content):
    (tmp_path / "best.json").write_text(content)
    with pytest.raises(SearchError, match="damaged"):
        hyperparameters.read(tmp_path / "best.json")


def test_no_search_yet(tmp_path):
    with pytest.raises(SearchError, match="run the stage tune first"):
        hyperparameters.read(tmp_path / "best.json")
