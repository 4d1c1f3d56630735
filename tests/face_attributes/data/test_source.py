import pytest

from drawn_faces import DRAWN_ATTRIBUTES, SyntheticParams
from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES
from face_attributes.common.errors import DataError, ParamsError
from face_attributes.data import source
from face_attributes.data.drawn_folder import draw_folder


def test_celeba_is_the_folder_that_the_variable_names(celeba_folder, data_params, monkeypatch):
    folder = celeba_folder()
    monkeypatch.setenv("CELEBA_DIR", str(folder))
    with source.opened(data_params()) as listing:
        assert listing.images == folder / "img_align_celeba"
        assert listing.attributes == ("Smiling", "Male")


def test_celeba_has_all_forty_attributes_unless_some_are_chosen(celeba_folder, data_params, monkeypatch):
    monkeypatch.setenv("CELEBA_DIR", str(celeba_folder()))
    with (
        pytest.raises(DataError, match=r"no column for 5_o_Clock_Shadow, .* \.\.\.; add it, or name"),
        source.opened(data_params(attributes=None)),
    ):
        pass


def test_celeba_with_all_forty(celeba_folder, data_params, monkeypatch):
    monkeypatch.setenv("CELEBA_DIR", str(celeba_folder(count=3, attributes=CELEBA_ATTRIBUTES)))
    with source.opened(data_params(attributes=None)) as listing:
        assert listing.attributes == CELEBA_ATTRIBUTES


@pytest.mark.parametrize(
    ("value", "message"), [(None, "CELEBA_DIR is not set"), ("/none/such", "no such folder")]
)
def test_a_variable_that_names_no_folder(data_params, monkeypatch, value, message):
    if value:
        monkeypatch.setenv("CELEBA_DIR", value)
    with pytest.raises(DataError, match=message), source.opened(data_params()):
        pass


def test_drawn_faces_vanish_unless_they_are_kept(data_params):
    drawn = SyntheticParams(count=4, seed=1)
    with source.opened(data_params(source="synthetic", attributes=None, synthetic=drawn)) as listing:
        assert listing.attributes == DRAWN_ATTRIBUTES
        assert len(list(listing.images.iterdir())) == len(listing) == 4
    assert not listing.images.exists()


def test_kept_faces_are_used_if_they_are_the_ones_asked_for(data_params, monkeypatch, tmp_path):
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path))
    drawn = SyntheticParams(count=4, seed=1)
    draw_folder(drawn, tmp_path / "raw", progress=False)
    with source.opened(data_params(source="synthetic", attributes=None, synthetic=drawn)) as listing:
        assert listing.images.is_relative_to(tmp_path / "raw")
    other = drawn.model_copy(update={"seed": 2})
    with source.opened(data_params(source="synthetic", attributes=None, synthetic=other)) as listing:
        assert not listing.images.is_relative_to(tmp_path / "raw")


def test_an_attribute_that_the_source_does_not_have(data_params):
    with (
        pytest.raises(
            ParamsError, match=r"data\.attributes: Smirking is not an attribute of source synthetic"
        ),
        source.opened(data_params(source="synthetic", attributes=["Smirking"])),
    ):
        pass


def test_knobs_of_drawn_faces():
    knobs = {"count": 3, "seed": 1, "light": 0.5}
    assert source.synthetic_params(["Eyeglasses=0.3"], **knobs).marginals == {"Eyeglasses": 0.3}
    with pytest.raises(ParamsError, match="'Eyeglasses': must be NAME=SHARE"):
        source.synthetic_params(["Eyeglasses"], **knobs)
    with pytest.raises(ParamsError, match="light: "):
        source.synthetic_params([], **{**knobs, "light": -1.0})


def test_some_faces_to_show(celeba_folder, data_params, monkeypatch):
    images, ids, labels = source.some(
        data_params(source="synthetic", attributes=None, synthetic=SyntheticParams(count=9, seed=1)), 3
    )
    assert [image.shape for image in images] == [(218, 178, 3)] * 3
    assert ids == ["000001.jpg", "000002.jpg", "000003.jpg"]
    assert all(set(names) <= set(DRAWN_ATTRIBUTES) for names in labels)

    folder = celeba_folder(count=9)
    monkeypatch.setenv("CELEBA_DIR", str(folder))
    (folder / "img_align_celeba" / "000004.jpg").write_bytes(b"")
    images, ids, labels = source.some(data_params(), 9)
    assert len(images) == 8
    assert "000004.jpg" not in ids
    assert labels[ids.index("000002.jpg")] == ["Smiling"]


def test_nothing_to_show(celeba_folder, data_params, monkeypatch):
    folder = celeba_folder(count=1)
    monkeypatch.setenv("CELEBA_DIR", str(folder))
    (folder / "img_align_celeba" / "000001.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of 1 images can be used"):
        source.some(data_params(), 5)


@pytest.mark.parametrize("runner", ["GITHUB_ACTIONS", "GITLAB_CI"])
def test_photographs_do_not_go_to_the_runner_of_a_forge(celeba_folder, data_params, monkeypatch, runner):
    monkeypatch.setenv("CELEBA_DIR", str(celeba_folder()))
    monkeypatch.setenv(runner, "true")
    with pytest.raises(DataError, match=f"{runner} shows a runner of a forge"), source.opened(data_params()):
        pass
    monkeypatch.setenv("VISAGE_OWN_RUNNER", "true")
    with source.opened(data_params()) as listing:
        assert len(listing)
