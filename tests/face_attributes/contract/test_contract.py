import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy import stats

from face_attributes.common.errors import DataError
from face_attributes.common.licences import Terms
from face_attributes.contract import facts, limits, run, sheet
from face_attributes.contract.facts import People, Repeated, Yes, interval
from face_attributes.data.prepare import Choice

ROOT = Path(__file__).resolve().parents[3]
CONTRACT = ROOT / "data/contract.yaml"


def choice(count=1000):
    """Return rows whose labels differ in no part, and of which ten are left out."""
    labels = np.zeros((count, 3), bool)
    labels[::2, 0] = True
    labels[::10, 1:] = True
    repeated = np.full(count, -1)
    repeated[10:20] = 0
    parts = np.array(
        ["train"] * (count * 8 // 10) + ["validation"] * (count // 10) + ["test"] * (count // 10)
    )
    ids = [f"{'monday/' * (row >= count - 100)}{row}.jpg" for row in range(count)]
    cuts = np.zeros(count, bool)
    cuts[10:13] = True
    return Choice(("Smiling", "Bald", "Bangs"), ids, parts.tolist(), labels, repeated, cuts)


@pytest.fixture
def found(tmp_path):
    people = tmp_path / "people.csv"
    lines = [f"{row}.jpg,{row // 3}" for row in range(900)]
    people.write_text("\n".join(["image_id,person", *lines]) + "\n")
    return facts.measure(choice(), people, "celeba", "full")


def test_the_facts_count_what_stays(found):
    assert found.rows == {"train": 790, "validation": 100, "test": 100}
    assert found.batches == {"monday": 100}
    assert found.shares["Smiling"].parts == {"train": 395, "validation": 50, "test": 50}
    assert (found.contradictions.images, found.contradictions.pairs) == (99, {"Bald and Bangs": 99})
    assert found.repeated == Repeated(10, 1000, 3, 9, {"test": 0, "validation": 0, "train": 10})
    # 3 images each, and 800 is the first of the validation part: person 266 has 798 and 799 before it
    assert found.people == People(890, 298, 1, "798.jpg")
    written = found.to_json()
    assert json.loads(json.dumps(written)) == written
    assert "798.jpg" not in json.dumps(written)
    assert written["shares"]["Smiling"]["share"] == 0.5


@pytest.mark.parametrize(("count", "of"), [(0, 40), (3, 40), (400, 1000), (40, 40)])
def test_intervals_are_those_of_scipy(count, of):
    known = stats.binomtest(count, of).proportion_ci(method="wilson")
    assert interval(count, of) == pytest.approx((known.low, known.high), abs=1e-6)


def contract(**changes):
    content = YAML(typ="safe").load(CONTRACT)
    return limits.Contract.model_validate({**content, "shares": {}, **changes})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"rows": {"train": 800, "validation": 1, "test": 1}},
            "rows.train: 790 images, must be at least 800",
        ),
        (
            {"share": {"low": 0.2, "high": 0.9}},
            "share: Bald has 10.0% (8.3% to 12.0%), must be 20.0% to 90.0%",
        ),
        (
            {"shares": {"Smiling": {"low": 0.1, "high": 0.4}}},
            "shares.Smiling: Smiling has 50.0% (46.9% to 53.1%), must be 10.0% to 40.0%",
        ),
        (
            {"shares": {"Yuong": {"low": 0.1, "high": 0.4}}},
            "shares.Yuong: the data have no such attribute, and CelebA has none",
        ),
        (
            {"max_contradictions": 0.05},
            "max_contradictions: 99 of 990 images with contradictory labels (10.0%), must be at most 5.0%",
        ),
        (
            {"max_repeated": 0.001},
            "max_repeated: 10 of 1000 images left out as repetitions (1.0%), must be at most 0.1%",
        ),
        (
            {"max_people_in_parts": 0},
            "max_people_in_parts: 1 people are in more than one part, such as that of 798.jpg; "
            "must be at most 0",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_limit_that_is_broken_has_a_line(found, changes, line):
    wide = {"max_contradictions": 1.0, "max_repeated": 1.0, "max_people_in_parts": 9}
    assert list(contract(**wide).breaches(found)) == []
    broken = list(contract(**{**wide, **changes}).breaches(found))
    assert line in broken
    assert {one.partition(":")[0] for one in broken} == {line.partition(":")[0]}


def test_a_difference_between_parts_counts_beyond_chance(found):
    wide = {"max_contradictions": 1.0, "max_people_in_parts": 9}
    far = replace(found, shares={"Smiling": Yes({"train": 395, "validation": 80, "test": 50})})
    (line,) = contract(**wide, max_share_difference=0.1).breaches(far)
    assert line.startswith("max_share_difference: Smiling has 50.0% in train and 80.0% in validation, more")
    # Of ten images 30 points are chance
    few = replace(
        found,
        rows={"train": 790, "validation": 10, "test": 100},
        shares={"Smiling": Yes({"train": 395, "validation": 8, "test": 50})},
    )
    assert not list(
        contract(**wide, rows={"train": 1, "validation": 1, "test": 1}, max_share_difference=0.1).breaches(
            few
        )
    )


def test_a_small_profile_needs_fewer_images(found):
    small = replace(found, profile="small", people=None)
    assert not list(
        contract(rows={"train": 9999, "validation": 1, "test": 1}, max_contradictions=1.0).breaches(small)
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rows: 1\n", "rows"),
        ("- 1\n", "contract.yaml: "),
        ("rows: {train: 1", "not valid"),
        ("max_repeatd: 1\n", "max_repeatd: unknown, did you mean max_repeated?"),
        ("a: &a [1]\nb: [*a]\n", "contract.yaml: "),
        ("x" * 70_000, "larger"),
    ],
    ids=["a section", "a list", "no YAML", "misspelt", "an alias", "large"],
)
def test_a_contract_that_cannot_be_used_has_one_line(tmp_path, text, complaint):
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        limits.read(path)
    assert complaint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_contract_of_this_repository_can_be_read():
    assert limits.read(CONTRACT) is not None
    assert limits.read(ROOT / "data/none.yaml") is None


@pytest.fixture
def place(made, tiny, monkeypatch, tmp_path):
    """A place with the raw data of drawn faces, in which the stage can run."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.raw, "data/raw")
    shutil.copy(made.raw.with_name("people.csv"), "data/people.csv")
    shutil.copy(ROOT / "data/licences.yaml", "data/licences.yaml")
    shutil.copy(CONTRACT, "data/contract.yaml")
    return tiny


def test_the_stage_records_facts_and_refuses_data_that_break_the_contract(place, caplog):
    run.run(place)
    written = json.loads(Path("metrics/data.json").read_text())
    assert written["source"] == "synthetic"
    assert written["people"]["in_several_parts"] == 0
    assert Path("plots/data.jpg").read_bytes().startswith(b"\xff\xd8")
    Path("metrics/data.json").unlink()
    text = CONTRACT.read_text().replace("max_share_difference: 0.2", "max_share_difference: 0.0")
    Path("data/contract.yaml").write_text(text.replace("{low: 0.2, high: 0.8}", "{low: 0.9, high: 1}"))
    with caplog.at_level(logging.ERROR), pytest.raises(DataError, match=r"contract.yaml: the data break \d+"):
        run.run(place)
    assert any("data/contract.yaml: shares.Smiling: Smiling has" in line for line in caplog.messages)
    assert Path("metrics/data.json").is_file()


def test_no_photograph_is_on_the_sheet(made, tmp_path):
    people = Terms("photographs", "none", None, (), photographs=True)
    drawn = Terms("drawn", "MIT", None, (), photographs=False)
    out = tmp_path / "data.jpg"
    assert sheet.write(made.sample, "synthetic", {"source synthetic": drawn}, out) == 12
    assert sheet.write(made.sample, "synthetic", {"source synthetic": people}, out) == 0
    assert sheet.write(made.sample, "synthetic", {}, out) == 0
    shown = {"source synthetic": drawn, "batch other": people, "batch drawn": drawn}
    names = {"1.jpg": True, "monday/1.jpg": False, "drawn/1.jpg": True}
    assert {name: sheet.may_be_shown(name, "synthetic", shown) for name in names} == names
