import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from face_attributes import params
from face_attributes.errors import ParamsError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    for name in ("params.yaml", "params.small.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def change(folder, before, after):
    path = folder / "params.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    return path


def test_the_repository_releases_the_full_profile():
    assert params.load(ROOT / "params.yaml").profile == "full"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "  learning_rate: 0.002",
            "  lerning_rate: 0.002",
            "train.lerning_rate: unknown, did you mean learning_rate?",
        ),
        ("profile: full", "profil: full", "profil: unknown, did you mean profile?"),
        (
            "    seed: 1\n\nprepare",
            "    sed: 1\n\nprepare",
            "data.synthetic.sed: unknown, did you mean seed?",
        ),
        ("  size: 64", "  size: 65", "prepare.size: 65: input should be a multiple of 16"),
        ("  size: 64", "  size: '64'", "prepare.size: '64': input should be a valid integer"),
        ("  size: 64", "  size:", "prepare.size: None: input should be a valid integer"),
        (
            "source: synthetic",
            "source: celebs",
            "data.source: 'celebs': input should be 'synthetic' or 'celeba'",
        ),
        ("profile: full", "profile: ful", "profile: 'ful': input should be 'full' or 'small'"),
        (
            "max_bad_fraction: 0.05",
            "max_bad_fraction: 5",
            "data.max_bad_fraction: 5: input should be less than",
        ),
        ("  width: 16", "  width: 17", "train.width: 17 is outside tune.space.width (one of"),
        ("{low: 0.1, high: 0.6}", "{low: 0.6, high: 0.1}", "dropout: low (0.6) must be less than high (0.1)"),
        ("attributes: null", "attributes: [Male, Male]", "data.attributes: names an attribute twice"),
    ],
)
def test_one_line_says_what_is_wrong_and_where(folder, before, after, message):
    path = change(folder, before, after)
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text
    assert ";" not in text, "a misspelt key is not also a missing one"


def test_all_faults_are_told_at_once(folder):
    change(folder, "  size: 64", "  size: 1")
    path = change(folder, "  epochs: 6", "  epochs: 0")
    with pytest.raises(ParamsError, match=r"prepare\.size: 1: .*; train\.epochs: 0: "):
        params.load(path)


def test_a_missing_section_is_named(folder):
    path = change(folder, "prepare:\n", "prepared:\n")
    with pytest.raises(ParamsError, match=r"prepared: unknown, did you mean prepare\?$"):
        params.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1\n", "params.yaml:2: "),
        ("- 1\n", "must hold sections"),
        ("", "must hold sections"),
        ("a: 1\na: 2\n", 'duplicate key "a"'),
    ],
)
def test_a_file_that_holds_no_sections(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(ParamsError, match="no such file"):
        params.load(tmp_path / "params.yaml")


def test_a_profile_changes_its_own_keys_alone(folder):
    before = (folder / "params.yaml").read_text().splitlines()
    changed = params.apply_profile("small", folder / "params.yaml")
    after = (folder / "params.yaml").read_text().splitlines()
    assert changed.profile == "small"
    assert params.load(folder / "params.yaml") == changed
    assert len(after) == len(before)
    overlay = YAML(typ="safe").load(folder / "params.small.yaml")
    touched = {line.split(":")[0].strip() for line, old in zip(after, before, strict=True) if line != old}
    assert touched <= set(leaves(overlay))


def test_a_profile_applied_twice_is_applied_once(folder):
    params.apply_profile("small", folder / "params.yaml")
    once = (folder / "params.yaml").read_bytes()
    params.apply_profile("small", folder / "params.yaml")
    assert (folder / "params.yaml").read_bytes() == once


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ("train: {lerning_rate: 1}\n", "train.lerning_rate: unknown, did you mean learning_rate?"),
        ("train: 3\n", "train: must be a section"),
        ("profile: {a: 1}\n", "profile: must not be a section"),
        ("train: {epochs: 0}\n", "train.epochs: 0: input should be greater than or equal to 1"),
    ],
)
def test_a_bad_overlay_changes_nothing(folder, overlay, message):
    (folder / "params.small.yaml").write_text(overlay)
    before = (folder / "params.yaml").read_bytes()
    with pytest.raises(ParamsError) as caught:
        params.apply_profile("small", folder / "params.yaml")
    assert message in str(caught.value)
    assert "params.small.yaml" in str(caught.value)
    assert (folder / "params.yaml").read_bytes() == before


def test_an_unknown_profile_says_how_to_go_back(folder):
    with pytest.raises(ParamsError, match="no such overlay; to undo one, run: git restore"):
        params.apply_profile("full", folder / "params.yaml")


def test_another_source(tiny):
    assert params.with_source(tiny, None) is tiny
    assert params.with_source(tiny, "celeba").data.source == "celeba"
    with pytest.raises(ParamsError, match=r"data\.source: 'cat': input should be"):
        params.with_source(tiny, "cat")


def leaves(section):
    for key, value in section.items():
        yield key
        if isinstance(value, dict):
            yield from leaves(value)


keys = st.sampled_from("abcd")
trees = st.recursive(st.integers(0, 9), lambda inner: st.dictionaries(keys, inner, min_size=1), max_leaves=12)


@given(base=st.dictionaries(keys, trees, min_size=1), draw=st.data())
def test_an_overlay_wins_and_leaves_the_rest(base, draw):
    overlay = draw.draw(part_of(base))
    document = YAML().load(dump(base))
    params._merge(document, YAML().load(dump(overlay)) or {}, Path("overlay"), ())
    assert_merged(params._to_plain(document), base, overlay)


@st.composite
def part_of(draw, tree):
    """Some of the keys of a tree, with other leaves."""
    chosen = draw(st.lists(st.sampled_from(sorted(tree)), unique=True))
    return {
        key: draw(part_of(tree[key])) if isinstance(tree[key], dict) else draw(st.integers(10, 19))
        for key in chosen
    }


def assert_merged(merged, base, overlay):
    assert list(merged) == list(base)
    for key, value in merged.items():
        if key not in overlay:
            assert value == base[key]
        elif isinstance(value, dict):
            assert_merged(value, base[key], overlay[key])
        else:
            assert value == overlay[key]


def dump(tree):
    stream = io.StringIO()
    YAML().dump(tree, stream)
    return stream.getvalue()
