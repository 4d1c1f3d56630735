import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from face_attributes import params
from face_attributes.common.errors import ParamsError
from gitops.dvc import parameters

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    for name in ("params.yaml", "params.small.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def test_the_repository_releases_the_full_profile():
    assert params.load(ROOT / "params.yaml").profile == "full"


def renamed(path, section, before, after):
    """Misspell a key."""
    yaml = YAML()
    document = yaml.load(path)
    place = document
    for name in section:
        place = place[name]
    place[after] = place.pop(before)
    yaml.dump(document, path)
    return path


def complaint(path):
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("section", "before", "after"),
    [
        (("train",), "learning_rate", "lerning_rate"),
        ((), "profile", "profil"),
        ((), "prepare", "prepared"),
        (("data", "synthetic"), "seed", "sed"),
        (("tune", "space", "weight_decay"), "low", "lo"),
    ],
)
def test_a_misspelt_key(folder, section, before, after):
    path = renamed(folder / "params.yaml", section, before, after)
    where = ".".join((*section, after))
    # and not that the right key is missing, too
    assert complaint(path) == f"{where}: unknown, did you mean {before}?"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.nonsense": 1}, "train.nonsense: unknown"),
        ({"prepare.shrink": 7}, "prepare.shrink: 7: input should be less than or equal to 6"),
        ({"prepare.shrink": "3"}, "prepare.shrink: '3': input should be a valid integer"),
        ({"prepare.shrink": None}, "prepare.shrink: None: input should be a valid integer"),
        ({"train.epochs": True}, "train.epochs: True: input should be a valid integer"),
        ({"data.source": "celebs"}, "data.source: 'celebs': input should be 'synthetic' or 'celeba'"),
        ({"profile": "ful"}, "profile: 'ful': input should be 'full' or 'small'"),
        ({"data.max_bad_fraction": 5}, "data.max_bad_fraction: 5: input should be less than or equal to 1"),
        ({"train.dropout": 1.0}, "train.dropout: 1.0: input should be less than 1"),
        ({"train.width": 17}, "train.width: 17 is outside tune.space.width (one of "),
        ({"train.learning_rate": 0.9}, "train.learning_rate: 0.9 is outside tune.space.learning_rate ("),
        (
            {"tune.space.weight_decay.low": 0.99},
            "tune.space.weight_decay: low (0.99) must be less than high (",
        ),
        ({"data.attributes": ["Male", "Male"]}, "data.attributes: names an attribute twice"),
        ({"data.attributes": []}, "data.attributes: []: list should have at least 1 item"),
    ],
)
def test_an_impossible_value(folder, edit, changes, message):
    assert complaint(edit(folder / "params.yaml", changes)).startswith(message)


def test_all_faults_are_told_at_once(folder, edit):
    path = edit(folder / "params.yaml", {"prepare.shrink": 1, "train.epochs": 0})
    assert re.match(r"prepare\.shrink: 1: .*; train\.epochs: 0: ", complaint(path))


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
    with pytest.raises(ParamsError, match=r"Available: small\. To undo a profile: git restore"):
        params.apply_profile("full", folder / "params.yaml")


def test_another_source(folder):
    path = folder / "params.yaml"
    assert params.load(path, source="celeba").data.source == "celeba"
    assert params.load(path).data.source == "synthetic"
    with pytest.raises(ParamsError, match=r"data\.source: 'cat': input should be"):
        params.load(path, source="cat")


def test_a_value_for_each_source(folder, edit):
    path = edit(folder / "params.yaml", {"train.epochs": {"synthetic": 2, "celeba": 30}})
    assert params.load(path).train.epochs == 2
    assert params.load(path, source="celeba").train.epochs == 30
    wide = {"low": 0.1, "high": 0.9}
    edit(path, {"tune.space.dropout": {"synthetic": {"low": 0.1, "high": 0.4}, "celeba": wide}})
    assert params.load(path).tune.space.dropout.high == 0.4
    assert params.load(path, source="celeba").tune.space.dropout.high == 0.9


def test_who_tunes_one_source_need_not_tune_the_others(folder, edit):
    path = edit(folder / "params.yaml", {"tune.space.width": {"synthetic": [8, 16], "celeba": [16, 24]}})
    edit(path, {"train.width": 8})
    assert params.load(path).train.width == 8
    with pytest.raises(ParamsError, match="outside"):
        params.load(path, source="celeba")


@pytest.mark.parametrize("partial", [{"celeba": 3}, {"synthetic": 3, "cat": 4}, {}])
def test_a_value_must_be_there_for_every_source(folder, edit, partial):
    path = edit(folder / "params.yaml", {"train.epochs": partial})
    assert complaint(path).endswith(": must be one value, or one for each of synthetic, celeba")


def test_an_overlay_gives_one_value_for_every_source(folder, edit):
    path = edit(folder / "params.yaml", {"train.epochs": {"synthetic": 2, "celeba": 30}})
    params.apply_profile("small", path)
    assert params.load(path).train.epochs == params.load(path, source="celeba").train.epochs


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


def test_the_schema_in_the_repository_is_that_of_the_model():
    written = json.loads((ROOT / "schemas" / "params.schema.json").read_text())
    assert written == params.schema(), "run: python -m face_attributes schema > schemas/params.schema.json"


def _paths(document, trail=()):
    for key, value in document.items():
        yield (*trail, key)
        if isinstance(value, dict):
            yield from _paths(value, (*trail, key))


_VALUES = st.one_of(
    st.sampled_from([None, True, False, 0, 1, 2, 16, 24, 5.0, -1, 0.0, 0.2, 1.0, 3.5, 10**6, 10**9]),
    st.sampled_from([float("nan"), float("inf"), "", "auto", "celeba", "small", "Smiling", "x"]),
    st.sampled_from([[], [16], [8, 24], ["Smiling"], ["Smiling", "Smiling"], {}, {"low": 0.3, "high": 0.2}]),
    st.sampled_from([{"synthetic": 1, "celeba": 2}, {"Smiling": 0.5}, {"Smilling": 0.5}, {"Smiling": 2}]),
    st.floats(allow_nan=True),
    st.integers(-(2**33), 2**33),
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_schema_takes_what_the_stages_take_and_nothing_else(data):
    document = parameters.read((ROOT / "params.yaml").read_bytes())
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(sorted(_paths(document))))
        place = document
        for key in path[:-1]:
            place = place[key]
        action = data.draw(st.sampled_from(["set", "set", "set", "drop", "rename"]))
        if action == "set":
            place[path[-1]] = data.draw(_VALUES)
        else:
            value = place.pop(path[-1])
            if action == "rename":
                place[f"{path[-1]}s"] = value
    try:
        params._checked(document, Path("params.yaml"))
        refused = ""
    except ParamsError as error:
        refused = str(error)
    assert bool(parameters.faults(params.schema(), document)) == bool(refused), (document, refused)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        ("train.max_minutes=.inf", "train.max_minutes: inf: input should be a finite number"),
        ("tune.minutes=.nan", "tune.minutes: nan"),
        ("tune.space.weight_decay={low: 0.001, high: .inf}", "tune.space.weight_decay.high: inf"),
        ("tune.space.learning_rate={low: 0.0005, high: 5}", "less than or equal to 1"),
        ("tune.space.dropout={low: 0, high: 1}", "less than 1"),
        ("train.epochs=1" + "0" * 400, "less than or equal to 1000000"),
        ("tune.epochs=1000001", "less than or equal to 1000000"),
        ("train.learning_rate=1e-400", "train.learning_rate: 0.0"),
        ("train.ema_decay=0.9999999999999999999", "train.ema_decay: 1.0"),
        ("data.synthetic.light=.inf", "data.synthetic.light: inf"),
        ("train.epochs={synthetic: 6, celeba: -24}", "for data.source celeba: train.epochs: -24"),
        ("train.epochs=" + "[" * 2000 + "]" * 2000, "more than 50 brackets inside one another"),
    ],
)
def test_a_value_that_no_stage_can_use_is_refused(tmp_path, edit, line):
    key, _, value = edit.partition("=")
    *sections, name = key.split(".")
    document = YAML().load(ROOT / "params.yaml")
    place = document
    for section in sections:
        place = place[section]
    place[name] = "PLACE"
    stream = io.StringIO()
    YAML().dump(document, stream)
    path = tmp_path / "params.yaml"
    path.write_text(stream.getvalue().replace("PLACE", value))
    with pytest.raises(ParamsError) as error:
        params.load(path)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    if len(value) < 100:
        assert parameters.faults(params.schema(), parameters.read(path.read_bytes()))


def test_the_small_profile_computes_the_same_on_a_busy_machine() -> None:
    """Nothing in it is chosen by a measurement or ended by a clock, so equal code has equal figures."""
    overlay = YAML(typ="safe").load(ROOT / "params.small.yaml")
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    assert overlay["train"]["precision"] in ("float32", "bfloat16")
    assert overlay["export"]["variant"] in ("float32", "int8")
    assert params["train"]["max_minutes"] is None
    assert "max_minutes" not in overlay["train"]
    assert params["tune"]["minutes"] is None
    assert "minutes" not in overlay["tune"]
