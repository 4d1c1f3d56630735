import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from face_attributes import evaluate
from face_attributes.errors import DataError
from face_attributes.evaluate import Answers
from face_attributes.model import Model


@pytest.fixture
def model(made):
    return Model(made.model)


def answers_of(model, rows=200, seed=0):
    random = np.random.default_rng(seed)
    truth = random.random((rows, len(model.attributes))) < 0.3
    probabilities = np.clip(truth * 0.4 + random.random(truth.shape) * 0.6, 0, 1).astype(np.float32)
    return Answers([str(row) for row in range(rows)], probabilities, probabilities >= 0.5, truth)


def test_figures_of_the_whole(model, tiny):
    answers = answers_of(model)
    figures = evaluate.judge(model, answers, tiny.evaluate)
    right = answers.decisions == answers.truth
    assert figures["profile"] == "full"
    assert figures["samples"] == 200
    assert figures["model_sha256"] == model.sha256
    assert figures["mean_accuracy"] == pytest.approx(right.mean(), abs=1e-4)
    assert figures["mean_accuracy_low"] < figures["mean_accuracy"] < figures["mean_accuracy_high"]
    share = answers.truth.mean(axis=0)
    assert figures["majority_accuracy"] == pytest.approx(np.maximum(share, 1 - share).mean(), abs=1e-4)
    assert list(figures["per_attribute"]) == list(model.attributes)


def test_figures_of_an_attribute(model, tiny):
    answers = answers_of(model)
    row = evaluate.judge(model, answers, tiny.evaluate)["per_attribute"][model.attributes[2]]
    truth, decided, said = answers.truth[:, 2], answers.decisions[:, 2], answers.probabilities[:, 2]
    expected = {
        "accuracy": metrics.accuracy_score(truth, decided),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, decided),
        "f1": metrics.f1_score(truth, decided),
        "average_precision": metrics.average_precision_score(truth, said),
        "roc_auc": metrics.roc_auc_score(truth, said),
        "positives": truth.mean(),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, abs=1e-4)
    assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]


def test_what_is_undefined_is_null(model, tiny):
    answers = answers_of(model)
    answers.truth[:, 0], answers.truth[:, 1] = False, True
    rows = evaluate.judge(model, answers, tiny.evaluate)["per_attribute"]
    nobody, everybody = (rows[name] for name in model.attributes[:2])
    assert nobody["roc_auc"] is nobody["average_precision"] is nobody["f1"] is None
    assert everybody["roc_auc"] is None
    assert nobody["majority_accuracy"] == everybody["majority_accuracy"] == 1
    json.dumps(rows, allow_nan=False)


def test_the_interval_covers_nineteen_times_in_twenty(model, tiny):
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        right = random.random((300, 1)) < 0.8
        truth = np.ones((300, 1), bool)
        one = Answers(["x"] * 300, right.astype(np.float32), right, truth)
        row = next(iter(evaluate.judge(one_attribute(model), one, tiny.evaluate)["per_attribute"].values()))
        covered += row["accuracy_low"] <= 0.8 <= row["accuracy_high"]
    assert 0.88 <= covered / 200 <= 0.99


def one_attribute(model):
    class One:
        attributes = model.attributes[:1]
        profile, sha256 = model.profile, model.sha256

    return One()


def test_the_same_model_gets_the_same_figures(made, tiny, tmp_path):
    evaluate.evaluate(tiny.evaluate, made.model, made.holdout, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == made.evaluation.read_bytes()
    figures = json.loads(made.evaluation.read_text())
    assert figures["samples"] == pq.read_metadata(made.holdout).num_rows


def test_columns_are_found_by_name(made, model, tmp_path):
    table = pq.read_table(made.holdout)
    pq.write_table(table.select(table.column_names[::-1]), tmp_path / "turned.parquet")
    one, other = (evaluate.ask(model, path) for path in (made.holdout, tmp_path / "turned.parquet"))
    assert np.array_equal(one.truth, other.truth)
    assert np.array_equal(one.probabilities, other.probabilities)


def test_a_holdout_without_an_attribute(made, model, tmp_path):
    table = pq.read_table(made.holdout)
    pq.write_table(table.drop_columns(["Smiling"]), tmp_path / "less.parquet")
    with pytest.raises(DataError, match="has no labels for Smiling, which the model predicts"):
        evaluate.ask(model, tmp_path / "less.parquet")


def test_an_empty_holdout(made, model, tmp_path):
    pq.write_table(pq.read_table(made.holdout).slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="holds no images"):
        evaluate.ask(model, tmp_path / "empty.parquet")


def test_a_damaged_image_is_named(made, model, tmp_path):
    table = pq.read_table(made.holdout)
    jpegs = [b"junk", *table.column("jpeg").to_pylist()[1:]]
    pq.write_table(table.set_column(1, "jpeg", [jpegs]), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=rf"image {table.column('id')[0]}: not a JPEG"):
        evaluate.ask(model, tmp_path / "bad.parquet")


def test_the_stage_writes_figures_summary_and_plots(made, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(made.home)
    evaluate.run(tiny.evaluate)
    summary = json.loads((made.home / "metrics/summary.json").read_text())
    figures = json.loads(made.evaluation.read_text())
    assert summary.items() <= figures.items()
    lines = (made.home / "plots/attributes.csv").read_text().splitlines()
    assert lines[0] == "attribute,accuracy,majority"
    assert len(lines) == 1 + len(figures["per_attribute"])
    accuracies = [float(line.split(",")[1]) for line in lines[1:]]
    assert accuracies == sorted(accuracies)
    assert (made.home / "plots/worst_errors.png").read_bytes().startswith(b"\x89PNG")


def test_the_worst_errors_come_first(made, model, tmp_path, monkeypatch):
    answers = evaluate.ask(model, made.holdout)
    shown = {}
    monkeypatch.setattr(
        evaluate.gallery, "sheet", lambda images, ids, labels, path: shown.update(ids=ids, labels=labels)
    )
    evaluate._plot_worst_errors(model, answers, made.holdout, 3, tmp_path / "worst.png")
    margin = np.abs(answers.probabilities - model.thresholds) * (answers.decisions != answers.truth)
    row, column = np.unravel_index(margin.argmax(), margin.shape)
    assert shown["ids"][0] == answers.ids[row]
    assert shown["labels"][0][0] == model.attributes[column]
    assert len(shown["ids"]) == 3


def test_a_faultless_model_still_has_a_sheet(made, model, tmp_path):
    answers = evaluate.ask(model, made.holdout)
    perfect = Answers(answers.ids, answers.probabilities, answers.truth, answers.truth)
    evaluate._plot_worst_errors(model, perfect, made.holdout, 3, tmp_path / "worst.png")
    assert (tmp_path / "worst.png").exists()
