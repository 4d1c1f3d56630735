import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dashboard import late_labels
from face_attributes.common.errors import DataError
from face_attributes.monitoring import performance as performances
from face_attributes.monitoring.performance import performance
from tests.support.described import fits

MODEL = "a" * 64
ATTRIBUTES = ("Smiling", "Male")


@pytest.fixture
def reference(tmp_path):
    """A reference that knows the attributes of the model."""
    columns = {"partition": ["validation"] * 3, **{f"{name}_score": [0.5] * 3 for name in ATTRIBUTES}}
    columns["brightness"] = [60.0, 100.0, 140.0]
    table = pa.table(columns).replace_schema_metadata({"model_sha256": MODEL})
    pq.write_table(table, tmp_path / "reference.parquet")
    return tmp_path / "reference.parquet"


@pytest.fixture
def scores(tmp_path):
    """Return a function that writes scores of a batch and labels by which `wrong` of its images are wrong."""

    def make(batch, images, wrong, labelled=None):
        decisions = np.random.default_rng(len(batch)).random((images, 2)) < 0.4
        truth = decisions.copy()
        truth[:wrong] = ~truth[:wrong]
        names = [f"{index:04d}.jpg" for index in range(images)]
        columns = {"id": names, "Smiling": decisions[:, 0], "Male": decisions[:, 1]}
        columns["brightness"] = np.linspace(50, 70, images)
        (tmp_path / "scores/date=2026-01-05").mkdir(parents=True, exist_ok=True)
        path = tmp_path / f"scores/date=2026-01-05/{batch}.parquet"
        pq.write_table(pa.table(columns | {"model_sha256": [MODEL] * images}), path)
        (tmp_path / "labels").mkdir(exist_ok=True)
        lines = [
            ",".join([name, *("1" if value else "-1" for value in row)])
            for name, row in list(zip(names, truth, strict=True))[:labelled]
        ]
        (tmp_path / f"labels/{batch}.csv").write_text("\n".join(["image_id,Smiling,Male", *lines]) + "\n")
        return path

    return make


@pytest.fixture
def judge(tmp_path, reference):
    def run(threshold=0.85):
        return performance(
            [tmp_path / "scores"],
            [tmp_path / "labels"],
            reference,
            MODEL,
            threshold,
            tmp_path / "verdict.json",
            "abc",
        )

    return run


def test_the_accuracy_on_all_labelled_batches(scores, judge, tmp_path):
    scores("monday", 200, wrong=20)
    scores("tuesday", 300, wrong=30, labelled=100)
    verdict = judge()
    assert verdict == json.loads((tmp_path / "verdict.json").read_text())
    fits("late_labels", (tmp_path / "verdict.json").read_bytes(), late_labels.Performance)
    assert (verdict["images"], verdict["labels"], verdict["label_files"]) == (300, 300, 2)
    assert (verdict["enough_labels"], verdict["below_threshold"]) == (True, False)
    assert verdict["mean_accuracy"] == pytest.approx(250 / 300, abs=1e-4)
    assert verdict["mean_accuracy_low"] < verdict["mean_accuracy"] < verdict["mean_accuracy_high"]
    error = (250 / 300 * 50 / 300 / 300) ** 0.5
    width = verdict["mean_accuracy_high"] - verdict["mean_accuracy_low"]
    assert width == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert list(verdict["per_attribute"]) == list(ATTRIBUTES)
    assert verdict["per_attribute"]["Male"]["accuracy"] == pytest.approx(250 / 300, abs=1e-4)
    assert (verdict["release"], verdict["threshold"]) == ("abc", 0.85)


def test_below_the_threshold_is_what_chance_does_not_explain(scores, judge):
    scores("monday", 400, wrong=80)
    verdict = judge()
    assert verdict["mean_accuracy"] == pytest.approx(0.8)
    assert verdict["mean_accuracy_high"] > 0.83
    assert judge(0.85)["below_threshold"] is True
    assert verdict["mean_accuracy"] < 0.81
    assert judge(0.81)["below_threshold"] is False


def test_whom_the_model_serves_worst_is_told_by_slices(scores, judge):
    path = scores("monday", 400, wrong=80)
    parts = judge()["slices"]
    assert list(parts) == ["Male", "not Male", "dark", "medium", "bright"]
    table = pq.read_table(path, partitioning=None)
    men = sum(table.column("Male").to_pylist()[80:]) + 80 - sum(table.column("Male").to_pylist()[:80])
    assert (parts["Male"]["count"], parts["Male"]["by"]) == (men, "Male")
    assert parts["Male"]["accuracy_low"] < parts["Male"]["accuracy"] < parts["Male"]["accuracy_high"]
    # The first images are wrong, and the darkest by the light of the reference
    assert parts["dark"]["count"] + parts["medium"]["count"] == 400
    assert parts["dark"]["accuracy"] == pytest.approx(1 - 80 / parts["dark"]["count"], abs=1e-4)


def test_of_a_slice_with_few_images_no_accuracy_is_told(scores, judge):
    scores("monday", 400, wrong=80)
    few = {"by": "brightness", "count": 0, "accuracy": None, "accuracy_low": None, "accuracy_high": None}
    assert judge()["slices"]["bright"] == few


def test_one_bad_list_of_labels_stops_no_check(scores, judge, tmp_path):
    scores("monday", 200, wrong=20)
    for number in range(25):
        (tmp_path / f"labels/bad-{number:02d}.csv").write_text("image_id,Smiling\n0001.jpg,1\n")
    verdict = judge()
    assert (verdict["images"], verdict["label_files"], verdict["mean_accuracy"]) == (200, 1, 0.9)
    assert (verdict["label_files_left_out"], len(verdict["left_out"])) == (25, 20)
    assert "bad-00.csv: no column for Male" in verdict["left_out"][0]


def test_one_wrong_line_of_another_list_hides_no_labels(scores, judge, tmp_path):
    scores("monday", 200, wrong=200)
    first = (tmp_path / "labels/monday.csv").read_text().splitlines()[1].split(",")
    other = {"1": "-1", "-1": "1"}[first[1]]
    (tmp_path / "labels/aaa.csv").write_text(f"image_id,Smiling,Male\nmonday/{first[0]},{other},{first[2]}\n")
    with pytest.raises(DataError, match=r"monday\.csv: contradicts .*aaa\.csv about monday/0000\.jpg"):
        judge()


def test_too_few_labels_are_no_answer(scores, judge):
    scores("monday", 400, wrong=400, labelled=99)
    verdict = judge()
    assert (verdict["images"], verdict["enough_labels"]) == (99, False)
    assert (verdict["below_threshold"], verdict["mean_accuracy"]) == (None, None)


def test_labels_of_images_that_were_not_scored_do_not_count(scores, judge):
    scores("monday", 200, wrong=0).unlink()
    verdict = judge()
    assert (verdict["labels"], verdict["images"], verdict["enough_labels"]) == (200, 0, False)


def test_scores_without_any_label(scores, judge, tmp_path):
    scores("monday", 200, wrong=0)
    (tmp_path / "labels/monday.csv").unlink()
    verdict = judge()
    assert (verdict["labels"], verdict["images"], verdict["enough_labels"]) == (0, 0, False)


def test_of_many_images_a_sample_is_judged(scores, judge, monkeypatch):
    monkeypatch.setattr(performances, "AT_MOST", 150)
    scores("monday", 400, wrong=200)
    verdict = judge()
    assert verdict["images"] == 400
    assert verdict["mean_accuracy"] == pytest.approx(0.5, abs=0.15)
    assert (verdict["mean_accuracy"] * 300) % 1 == pytest.approx(0, abs=0.02)


def test_scores_that_cannot_be_read_are_named(scores, judge):
    scores("monday", 200, wrong=0).write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"monday\.parquet: not a readable file of scores"):
        judge()


@pytest.fixture
def beside(tmp_path, reference):
    """Return a function that judges beside an evaluation of this mean accuracy, known to 0.01."""

    def run(accuracy, max_loss=0.02, model=MODEL):
        figures = {"model_sha256": model, "mean_accuracy": accuracy, "mean_accuracy_low": accuracy - 0.01}
        (tmp_path / "evaluation.json").write_text(json.dumps(figures))
        return performance(
            [tmp_path / "scores"],
            [tmp_path / "labels"],
            reference,
            MODEL,
            0.85,
            tmp_path / "verdict.json",
            evaluation=tmp_path / "evaluation.json",
            max_loss=max_loss,
        )

    return run


def test_a_release_that_lost_much_is_told_above_the_threshold(scores, beside):
    # 0.9 where the release has 0.97: the floor of 0.85 says nothing of that
    scores("monday", 1000, wrong=100)
    verdict = beside(0.97)
    assert (verdict["below_threshold"], verdict["below_release"]) == (False, True)
    assert (verdict["limit"], verdict["claimed_accuracy"], verdict["max_loss"]) == (0.95, 0.97, 0.02)
    assert beside(0.97, max_loss=0.06)["below_release"] is False


def test_sampling_error_of_both_accuracies_is_no_loss(scores, beside):
    scores("monday", 1000, wrong=100)
    # 0.9 with +-0.0186 here, +-0.01 there: together +-0.021
    assert beside(0.938)["below_release"] is False
    assert beside(0.945)["below_release"] is True


def test_the_floor_stays_for_a_release_that_is_near_it(scores, beside):
    scores("monday", 1000, wrong=200)
    verdict = beside(0.81)
    assert (verdict["below_threshold"], verdict["below_release"], verdict["limit"]) == (True, False, 0.85)


def test_without_labels_or_evaluation_nothing_is_said_of_the_release(scores, beside, judge):
    scores("monday", 1000, wrong=100, labelled=50)
    assert beside(0.97)["below_release"] is None
    scores("tuesday", 1000, wrong=100)
    assert judge()["below_release"] is None
    assert judge()["limit"] == 0.85


def test_an_evaluation_that_says_nothing_of_the_model(scores, beside, tmp_path):
    scores("monday", 200, wrong=20)
    with pytest.raises(DataError, match="is about another model, 999999999999; take that of the release"):
        beside(0.97, model="9" * 64)


@pytest.mark.parametrize(
    ("accuracy", "low"),
    [(math.nan, 0.9), (0.95, math.nan), (math.inf, 0.9), (-5, -6), (0.9, 0.95), (95, 94)],
)
def test_an_evaluation_without_a_share_as_accuracy_is_named(accuracy, low, scores, beside, monkeypatch):
    scores("monday", 200, wrong=20)
    content = json.dumps({"model_sha256": MODEL, "mean_accuracy": accuracy, "mean_accuracy_low": low})
    monkeypatch.setattr("json.dumps", lambda _: content)
    with pytest.raises(DataError, match=r"evaluation\.json: not an output of the stage evaluate"):
        beside(0.97)
