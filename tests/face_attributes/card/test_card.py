import html
import json
import re
import shutil
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from face_attributes.card import card, energy, text
from face_attributes.common import licences
from face_attributes.common.errors import DataError
from tests.support.described import fits

ROOT = Path(__file__).parents[3]
EVALUATION = {
    "model_sha256": "a" * 64,
    "profile": "full",
    "samples": 2000,
    "mean_accuracy": 0.9,
    "mean_accuracy_low": 0.89,
    "mean_accuracy_high": 0.91,
    "majority_accuracy": 0.8,
    "worst_slice": {"name": "dark", "accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9},
    "per_attribute": {
        "Smiling": {"accuracy": 0.93, "majority_accuracy": 0.5, "recall": 0.9},
        "Wearing_Necklace": {"accuracy": 0.87, "majority_accuracy": 0.88, "recall": 0.08},
    },
}
SEARCH = {"device": "cpu", "seconds": 1800, "cores": 2, "memory_gb": 4, "trials": 6}
TRAINING = {"device": "cpu", "seconds": 3600, "cores": 2, "memory_gb": 4, "epochs": 6, "train_images": 6400}
GROUPS = {
    "minimum": 30,
    "groups": {"all images": {"by": "all", "count": 2000}},
    "gaps": [
        {
            "attribute": "Smiling",
            "group": "Male",
            "tpr": 0.1,
            "others": 0.9,
            "gap": 0.8,
            "low": 0.7,
            "high": 0.9,
        }
    ],
    "contradictions": {"rate": 0.01, "rate_low": 0.005, "rate_high": 0.02, "labels": 0.02},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as the stages before leave it; and the working directory."""
    files = {
        "metrics/evaluation.json": EVALUATION,
        "metrics/training.json": TRAINING,
        "metrics/export.json": {"variant": "int8", "max_difference": 1e-6, "decisions_changed": 0},
        "metrics/groups.json": GROUPS,
        "metrics/explanations.json": {"mean_share": None, "mean_region": None},
        "metrics/search.json": SEARCH,
        "search/best.json": {"learning_rate": 0.004, "width": 16},
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "data/labelled").mkdir(parents=True)
    (tmp_path / "data/labelled/monday.parquet.dvc").touch()
    shutil.copy(ROOT / "data/licences.yaml", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_card_has_the_data_the_results_and_the_limits(folder, tiny):
    card.run(tiny)
    fits("card", (folder / "metrics/card.json").read_bytes())
    sections = json.loads((folder / "metrics/card.json").read_text())["sections"]
    data, results, limits = (sections[name] for name in ("Data", "Results on the hold-out set", "Limits"))
    assert data["licence"] == "MIT"
    assert data["photographs of people"] == "no"
    assert data["labelled batches appended"] == "monday (not stated)"
    assert results["mean accuracy"] == "0.9000 (0.8900 to 0.9100)"
    assert results["worst slice"] == "dark 0.8000 (0.7000 to 0.9000)"
    assert limits["no better than the majority class"] == "Wearing_Necklace"
    assert limits["rarer answer found in less than half"] == "Wearing_Necklace 0.08"
    assert "Smiling of Male: 0.1000" in sections["Groups of people"]["largest gaps of the true positive rate"]
    # One of the cores, as train.threads has it, and 4 GB for an hour: (12 + 4 x 0.3725) W x 1.67
    assert sections["Time and energy"]["energy of the training"] == "0.0225 kWh, an estimate"
    assert sections["Time and energy"]["energy of the search"] == "0.0113 kWh, an estimate"


def test_every_field_is_on_the_page_and_the_open_ones_say_so(folder, tiny):
    for name in ("explanations", "groups", "search", "training"):
        (folder / f"metrics/{name}.json").write_text("{}")
    card.run(tiny)
    sections = json.loads((folder / "metrics/card.json").read_text())["sections"]
    page = (folder / "metrics/card.md").read_text()
    for title, fields in sections.items():
        assert f"\n## {title}\n" in page
        for name, value in fields.items():
            assert f"\n| {name} | {text.NOT_EVALUATED if value is None else value[:20]}" in page
    assert sections["Groups of people"]["contradictory answers"] is None
    assert sections["Time and energy"]["energy of the training"] is None


def test_a_gpu_has_no_estimate(folder, tiny):
    (folder / "metrics/training.json").write_text(json.dumps(TRAINING | {"device": "cuda"}))
    assert card.make(tiny)["sections"]["Time and energy"]["energy of the training"] is None


@pytest.mark.parametrize(("content", "says"), [("{", "damaged"), ("[]", "not an object")])
def test_damaged_metrics_are_named(folder, tiny, content, says):
    (folder / "metrics/groups.json").write_text(content)
    with pytest.raises(DataError, match=rf"metrics/groups\.json: {says}"):
        card.run(tiny)
    (folder / "metrics/groups.json").unlink()
    with pytest.raises(DataError, match=r"metrics/groups\.json: no such file; run the stages before"):
        card.run(tiny)


ROW = "sources: {celeba: {name: x, licence: y, uses: [research], photographs: true}}"


@pytest.mark.parametrize(
    "content",
    [
        "sources: [",
        "sources: {celeba: {name: x}}",
        "[]",
        "sources: 3",
        # In YAML 1.2 this is a word, and no word means false
        ROW.replace("true", "no"),
        ROW.replace("[research]", "research"),
        ROW.replace("name: x", "name: [x]"),
    ],
)
def test_damaged_licences_are_named(folder, tiny, content):
    (folder / "data/licences.yaml").write_text(content)
    with pytest.raises(DataError, match=r"data/licences\.yaml: not valid"):
        card.run(tiny)


def test_without_licences_the_terms_are_not_evaluated(folder, tiny):
    (folder / "data/licences.yaml").unlink()
    assert licences.read(Path("data/licences.yaml")) == {}
    assert card.make(tiny)["sections"]["Data"]["licence"] is None


def test_an_empty_address_is_none(folder):
    path = folder / "data/licences.yaml"
    path.write_text(ROW.replace("name: x", "name: x, url: null"))
    assert licences.read(path)["source celeba"].url is None


@pytest.mark.parametrize(
    "name",
    [
        "a|b <script>",
        "![seen](https://elsewhere.example/1.png)",
        "[a](javascript:b)",
        "`*~~_a_ &lt; \\",
        "@ann",
    ],
)
def test_names_show_as_they_are(name):
    """On a forge, or wherever else Markdown becomes a page."""
    page = MarkdownIt("gfm-like", {"linkify": False}).render(text.page({"Data": {"licence": name}}))
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert [html.unescape(cell) for cell in cells] == ["licence", name]
    assert "@ann" not in text.page({"Data": {"licence": name}})


def test_the_estimate_grows_with_time_and_cores():
    assert energy.kilowatt_hours(3600, 1, 0) == pytest.approx(0.02004)
    assert energy.kilowatt_hours(7200, 4, 0) == pytest.approx(8 * 0.02004)
