"""Two real models on the same batches, and how they compare."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest

from face_attributes.common.errors import DataError
from face_attributes.model import latency
from face_attributes.model.onnx_model import THRESHOLDS, Model
from face_attributes.monitoring import shadow
from face_attributes.monitoring.score import score
from tests.support.described import fits

IMAGES = 100


def never(model: Path, attribute: int, out: Path) -> Path:
    """Copy a model, and let the copy never see an attribute."""
    loaded = onnx.load(str(model))
    (entry,) = [entry for entry in loaded.metadata_props if entry.key == THRESHOLDS]
    values = json.loads(entry.value)
    values[attribute] = 2.0
    entry.value = json.dumps(values)
    onnx.save(loaded, str(out))
    return out


@pytest.fixture(scope="module")
def scored(made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch that the trained model scored, and another model, which never sees the first attribute."""
    home = tmp_path_factory.mktemp("shadow")
    faces = sorted((made.faces / "img_align_celeba").iterdir())[:IMAGES]
    for face in faces:
        (home / "monday").mkdir(exist_ok=True)
        shutil.copy(face, home / "monday" / face.name)
    never(made.model, _common(made), home / "other.onnx")
    score(home / "monday", made.model, home / "scores/date=2026-01-05/monday.parquet", "a" * 40)
    score(home / "monday", made.model, home / "scores/date=2026-01-06/alone.parquet", "a" * 40)
    score(home / "monday", home / "other.onnx", home / "shadow/date=2026-01-05/monday.parquet", "b" * 40)
    header, *rows = (made.faces / "list_attr_celeba.txt").read_text().splitlines()[1:]
    names = {face.name for face in faces}
    lines = [f"image_id,{','.join(header.split())}"]
    lines += [",".join(row.split()) for row in rows if row.split()[0] in names]
    (home / "labels").mkdir()
    (home / "labels/monday.csv").write_text("\n".join(lines) + "\n")
    return home


def _common(made) -> int:
    """Return the attribute that most of the images have by the trained model."""
    model = Model(made.model)
    names = model.attributes
    counts = json.loads(made.evaluation.read_text())["per_attribute"]
    return max(range(len(names)), key=lambda index: counts[names[index]]["positives"])


def compare(made, home: Path, out: Path, *labels: Path) -> dict[str, Any]:
    return shadow.shadow(home / "scores", home / "shadow", home / "other.onnx", made.model, labels, out)


@pytest.fixture
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "BATCHES", (1,))


def test_agreement_distance_and_accuracy_are_those_of_the_answers(
    made, scored: Path, tmp_path: Path, few_runs: None
) -> None:
    figures = compare(made, scored, tmp_path / "report.json", scored / "labels")
    assert json.loads((tmp_path / "report.json").read_text()) == figures
    own = pq.read_table(scored / "scores/date=2026-01-05/monday.parquet")
    name = Model(made.model).attributes[_common(made)]
    yes = float(np.mean(own.column(name).to_numpy()))
    assert yes > 0.5
    row = figures["per_attribute"][name]
    assert row == pytest.approx(
        {"agreement": 1 - yes, "yes": 0, "incumbent_yes": yes, "distance": 0}, abs=1e-4
    )
    others = [row for other, row in figures["per_attribute"].items() if other != name]
    assert {(row["agreement"], row["distance"]) for row in others} == {(1.0, 0.0)}
    assert (figures["images"], figures["batches"], figures["labelled"]) == (IMAGES, 1, IMAGES)
    assert set(figures["latency"]) == {"batch_1"}
    compared = figures["comparison"]
    truth = {line.split(",")[0]: line for line in (scored / "labels/monday.csv").read_text().split("\n")}
    header = truth["image_id"].split(",")
    right = [
        (truth[image].split(",")[header.index(name)] == "1") == bool(answer)
        for image, answer in zip(own.column("id").to_pylist(), own.column(name).to_pylist(), strict=True)
    ]
    assert compared["per_attribute"][name]["incumbent"] == pytest.approx(np.mean(right), abs=1e-6)
    assert compared["per_attribute"][name]["difference"] < 0
    assert compared["per_attribute"][name]["p_worse"] < 0.01
    assert compared["samples"] == IMAGES
    assert "least in " + name in shadow.told(figures)
    fits("shadow", (tmp_path / "report.json").read_bytes())


def test_equal_numbers_of_images_are_compared_once(
    made, scored: Path, tmp_path: Path, few_runs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MINIMUM", 30)
    first = compare(made, scored, tmp_path / "report.json", scored / "labels")["comparison"]
    assert first["samples"] == 60  # not 100: the next comparison takes twice as many
    monkeypatch.setattr(shadow, "_judge", lambda *_: pytest.fail("compared again"))
    assert compare(made, scored, tmp_path / "report.json", scored / "labels")["comparison"] == first
    monkeypatch.setattr(shadow, "MINIMUM", 50)
    monkeypatch.setattr(shadow, "_judge", lambda table, *_: {"samples": table.num_rows, "mean_accuracy": 0})
    monkeypatch.setattr(shadow, "write_json", lambda *_: None)
    again = compare(made, scored, tmp_path / "report.json", scored / "labels")["comparison"]
    assert again["samples"] == 100


def test_a_list_that_cannot_be_used_stops_no_comparison(
    made, scored: Path, tmp_path: Path, few_runs: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A canary would go on unjudged as long as somebody's list is wrong."""
    usual = compare(made, scored, tmp_path / "usual.json", scored / "labels")
    labels = tmp_path / "labels"
    shutil.copytree(scored / "labels", labels)
    (labels / "broken.csv").write_text("image_id,Smiling\n1.jpg,perhaps\n")
    (labels / "few.csv").write_text("image_id,Smiling\n1.jpg,1\n")
    found = compare(made, scored, tmp_path / "report.json", labels)
    assert found["comparison"] == usual["comparison"]
    for name in ("broken.csv", "few.csv"):
        assert f"a list is left out, the others are not: {labels / name}" in caplog.text


def test_without_labels_there_is_no_comparison(made, scored: Path, tmp_path: Path, few_runs: None) -> None:
    figures = compare(made, scored, tmp_path / "report.json")
    assert (figures["labelled"], figures["comparison"]) == (0, None)
    assert "0 labelled images, a comparison takes 100" in shadow.told(figures)


def test_without_a_batch_of_both_there_is_nothing_to_compare(made, scored: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no image there was scored by the release too"):
        shadow.shadow(
            scored / "scores", tmp_path / "nothing", scored / "other.onnx", made.model, (), tmp_path / "out"
        )
