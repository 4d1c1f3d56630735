import hashlib
import json
import shutil

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from face_attributes.evaluation import evaluate
from gitops.gates.recorded import require
from gitops.model.decisions import Decisions
from gitops.model.evaluation import Evaluation
from tests.support.described import fits


def test_the_same_model_gets_the_same_figures(made, tiny, tmp_path):
    evaluate.evaluate(tiny.evaluate, made.model, made.holdout, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == made.evaluation.read_bytes()
    figures = json.loads(made.evaluation.read_text())
    assert figures["samples"] == pq.read_metadata(made.holdout).num_rows


def test_figures_alone_are_written_for_another_model(made, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluate.evaluate(tiny.evaluate, made.model, made.holdout, tmp_path / "figures.json")
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_other_parts_can_read_what_the_stages_write(made):
    fits("training", made.training.read_bytes())
    fits("export", made.parity.read_bytes())
    fits("evaluation", made.evaluation.read_bytes())
    fits("decisions", (made.home / "metrics/decisions.json").read_bytes())
    fits("groups", (made.home / "metrics/groups.json").read_bytes())
    fits("performance", (made.home / "metrics/performance.json").read_bytes())


def test_the_decisions_give_the_accuracies_and_know_the_images(made):
    found = Decisions.model_validate_json((made.home / "metrics/decisions.json").read_bytes())
    figures = json.loads(made.evaluation.read_text())
    require(found, Evaluation.model_validate(figures), found.holdout_md5, "a" * 40)
    assert found.holdout_md5 == hashlib.md5(made.holdout.read_bytes(), usedforsecurity=False).hexdigest()
    table = pq.read_table(made.holdout)
    assert found.digests == [hashlib.sha256(one.as_py()).digest()[:8] for one in table["jpeg"]]
    for name, row in found.attributes.items():
        truth, decided = found.bits(row.truth), found.bits(row.decisions)
        assert truth == table[name].to_pylist()
        right = sum(one == other for one, other in zip(truth, decided, strict=True)) / found.samples
        assert figures["per_attribute"][name]["accuracy"] == pytest.approx(right, abs=1e-4)
    assert {name: sum(found.bits(one.images)) for name, one in found.slices.items()} == {
        name: row["count"] for name, row in figures["slices"].items()
    }


def test_evaluate_prints_the_smallest_loss_that_is_seen_in_each_attribute(made, tiny, tmp_path, caplog):
    caplog.set_level("INFO")
    evaluate.evaluate(tiny.evaluate, made.model, made.holdout, tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    (line,) = [one for one in caplog.messages if "80% power" in one]
    assert f"mean {100 * figures['visible_loss']:.2f}" in line
    for name, row in figures["per_attribute"].items():
        assert f"{name} {100 * row['visible_loss']:.1f}" in line


def test_the_summary_says_what_the_figures_say(made):
    summary = json.loads((made.home / "metrics/summary.json").read_text())
    figures = json.loads((made.home / "metrics/evaluation.json").read_text())
    worst = summary.pop("worst_slice")
    assert summary.items() <= figures.items()
    assert worst == (figures["worst_slice"] or {"accuracy": None})["accuracy"]


def test_the_summary_fits_on_a_line(made):
    summary = json.loads((made.home / "metrics/summary.json").read_text())
    # As `dvc metrics show` sets it: the path, two spaces, then the columns, four spaces apart
    assert len(f"metrics/summary.json  {'    '.join(summary)}") <= 120


def test_time_and_size_are_apart_from_the_figures(made):
    performance = json.loads((made.home / "metrics/performance.json").read_text())
    figures = json.loads((made.home / "metrics/evaluation.json").read_text())
    assert performance["model_sha256"] == figures["model_sha256"]
    assert performance["model_bytes"] == made.model.stat().st_size
    assert set(performance["latency"]) == {"batch_1", "batch_64"}
    for measured in performance["latency"].values():
        assert 0 < measured["p50_ms"] <= measured["p95_ms"]


def test_every_plot_is_written(made):
    for name in ("attributes", "slices", "roc", "calibration"):
        assert len((made.home / f"plots/{name}.csv").read_text().splitlines()) > 3
    assert (made.home / "plots/served_worst.jpg").read_bytes().startswith(b"\xff\xd8")
    assert (made.home / "plots/worst_errors.jpg").read_bytes().startswith(b"\xff\xd8")


def test_the_share_of_the_maps_inside_of_the_true_regions_is_a_metric(made, tiny, tmp_path, monkeypatch):
    figures = json.loads((made.home / "metrics/explanations.json").read_text())
    assert figures["model_sha256"] == json.loads(made.evaluation.read_text())["model_sha256"]
    assert figures["faces"] == 2  # as the profile full draws
    assert all(0 < row["region"] < 1 for row in figures["per_attribute"].values())
    photographs = shutil.copytree(made.home, tmp_path / "photographs")
    monkeypatch.chdir(photographs)
    evaluate.run(tiny.evaluate, "celeba")
    # One grey picture in the place of all photographs
    assert len(np.unique(cv2.imread(str(photographs / "plots/served_worst.jpg"))[:200, 10:170])) < 10
    assert json.loads((photographs / "metrics/explanations.json").read_text())["faces"] == 0
