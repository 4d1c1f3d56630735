from face_attributes.common import checkpoints


def test_what_differs_lies_apart():
    one = checkpoints.path("train", ".pt", seed=1)
    assert checkpoints.path("train", ".pt", seed=1) == one
    assert checkpoints.path("train", ".pt", seed=2) != one
    assert checkpoints.path("search", ".pt", seed=1) != one
    assert one.parts[:2] == ("models", "checkpoints")


def test_other_code_begins_anew(monkeypatch):
    one = checkpoints.path("train", ".pt", seed=1)
    monkeypatch.setattr(checkpoints, "sha256", lambda path: "changed")
    assert checkpoints.path("train", ".pt", seed=1) != one


def test_a_home_outlives_a_clone(monkeypatch, tmp_path):
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path))
    assert checkpoints.path("train", ".pt", seed=1).parent == tmp_path / "checkpoints"
