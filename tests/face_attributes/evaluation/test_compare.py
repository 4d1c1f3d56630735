import json

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_attributes.common import files
from face_attributes.common.errors import DataError, ModelError
from face_attributes.evaluation import compare, slices
from face_attributes.evaluation.predictions import Predictions, predict
from face_attributes.model.onnx_model import ATTRIBUTES, THRESHOLDS, Model
from tests.support.described import fits

NAMES = ("Smiling", "Male", "Bald", "Young", "Eyeglasses", "Bangs", "Goatee", "Chubby")
ALPHA = 0.05


def answers(truth, wrong):
    """Return predictions that are wrong where `wrong` says so."""
    decisions = truth ^ wrong
    light = np.linspace(40, 200, len(truth))
    labels = {"Male": truth[:, 1], "Young": truth[:, 3]}
    ids = [str(row) for row in range(len(truth))]
    return Predictions(ids, decisions.astype(np.float32), decisions, truth, labels, light)


def two_models(seed, images=400, apart=0.06, common=0.1):
    """Return two models that are equally good: where they differ, either is right as often."""
    random = np.random.default_rng(seed)
    truth = random.random((images, len(NAMES))) < 0.4
    both = random.random(truth.shape) < common
    # Some images are hard for all attributes at once
    differ = random.random(truth.shape) < apart * 2 * random.random((images, 1))
    first = random.random(truth.shape) < 0.5
    return truth, np.where(differ, first, both), np.where(differ, ~first, both)


def judged(truth, new, old, resamplings=1000):
    return compare.judge(NAMES, answers(truth, new), answers(truth, old), resamplings)


def edited(model, path, key, change):
    """Write a copy of a model with one entry of its metadata changed."""
    proto = onnx.load(model)
    entry = next(entry for entry in proto.metadata_props if entry.key == key)
    entry.value = json.dumps(change(json.loads(entry.value)))
    onnx.save(proto, path)
    return path


def test_equal_answers_are_never_worse():
    truth, new, _ = two_models(0)
    found = judged(truth, new, new)
    rows = [found["mean_accuracy"], *found["per_attribute"].values(), *found["slices"].values()]
    assert all(row["p_worse"] == 1 for row in rows)
    assert all(row["difference"] == row["low"] == row["high"] == 0 for row in rows)
    assert all(row["p_worse_holm"] == 1 for row in rows[1:])


def test_the_accuracies_are_those_of_each_model_alone():
    truth, new, old = two_models(1)
    found = judged(truth, new, old)
    assert found["samples"] == 400
    assert found["mean_accuracy"]["accuracy"] == pytest.approx(1 - new.mean(), abs=1e-6)
    assert found["mean_accuracy"]["incumbent"] == pytest.approx(1 - old.mean(), abs=1e-6)
    assert list(found["per_attribute"]) == list(NAMES)
    for index, row in enumerate(found["per_attribute"].values()):
        assert row["accuracy"] == pytest.approx(1 - new[:, index].mean(), abs=1e-6)
        assert row["difference"] == pytest.approx(old[:, index].mean() - new[:, index].mean(), abs=1e-6)
        assert row["low"] <= row["difference"] <= row["high"]
    male = found["slices"]["Male"]
    assert (male["by"], male["count"]) == ("Male", truth[:, 1].sum())
    assert male["accuracy"] == pytest.approx(1 - new[truth[:, 1]].mean(), abs=1e-6)


def test_pairing_sees_what_two_accuracies_apart_do_not():
    truth, new, old = two_models(2, apart=0, common=0.3)
    new = new.copy()
    new[:12] = True
    old[:12] = False
    found = judged(truth, new, old)["mean_accuracy"]
    assert found["difference"] == pytest.approx(-0.03, abs=1e-6)
    assert found["p_worse"] < 0.01
    assert found["high"] < 0
    # Twelve of 400 images are well within two standard errors of either accuracy
    assert 2 * np.sqrt(2 * 0.3 * 0.7 / 400) > 0.03


def test_one_attribute_that_is_worse_is_found_and_no_other():
    truth, new, old = two_models(3, images=2000)
    planted = NAMES.index("Bangs")
    new = new.copy()
    new[:, planted] = old[:, planted] | (np.arange(2000) % 25 == 0)
    found = judged(truth, new, old)
    worse = [name for name, row in found["per_attribute"].items() if row["p_worse_holm"] <= ALPHA]
    assert worse == ["Bangs"]
    better = judged(truth, old, new)["per_attribute"]["Bangs"]
    assert (better["difference"], better["p_worse"]) == (pytest.approx(0.036, abs=0.005), 1)


def test_a_slice_that_is_worse_is_found_though_the_whole_is_not():
    truth, new, old = two_models(4, images=1500)
    light = np.arange(1500)
    random = np.random.default_rng(0)
    new = np.where((light < 500)[:, None], old | (random.random(truth.shape) < 0.05), old)
    new = np.where((light > 1000)[:, None], old & (random.random(truth.shape) < 0.5), new)
    found = judged(truth, new, old)
    assert found["mean_accuracy"]["p_worse"] > ALPHA
    assert found["slices"]["dark"]["p_worse_holm"] <= ALPHA
    assert found["slices"]["bright"]["p_worse_holm"] > ALPHA


def test_false_alarms_are_rarer_than_alpha():
    runs = 300
    mean = attributes = parts = 0
    for seed in range(runs):
        found = judged(*two_models(seed), resamplings=500)
        mean += found["mean_accuracy"]["p_worse"] <= ALPHA
        attributes += any(row["p_worse_holm"] <= ALPHA for row in found["per_attribute"].values())
        parts += any(row["p_worse_holm"] <= ALPHA for row in found["slices"].values())
    # Of 300 runs 15 are expected to raise an alarm, with a standard deviation of under 4
    assert 3 <= mean <= 15 + 2.6 * 4
    assert attributes <= 15 + 2.6 * 4
    assert parts <= 15 + 2.6 * 4


def test_slices_of_a_few_images_are_left_out():
    truth, new, old = two_models(5, images=2 * slices.MINIMUM)
    assert judged(truth, new, old)["slices"].keys().isdisjoint({"dark", "medium", "bright"})
    truth, new, old = two_models(5, images=slices.MINIMUM - 1)
    assert judged(truth, new, old)["slices"] == {}


@pytest.fixture
def spoilt(made, tmp_path):
    """The model, but for an attribute that it sees in every image."""
    index = spoilt_attribute(made)
    return edited(
        made.model,
        tmp_path / "spoilt.onnx",
        THRESHOLDS,
        lambda values: [*values[:index], -1.0, *values[index + 1 :]],
    )


def spoilt_attribute(made):
    predictions = predict(Model(made.model), made.holdout)
    return int((predictions.decisions == predictions.truth).mean(axis=0).argmax())


def test_a_spoilt_model_is_found_out(made, spoilt, tmp_path):
    out = tmp_path / "comparison.json"
    compare.compare(spoilt, made.model, made.holdout, out)
    fits("comparison", out.read_bytes())
    found = json.loads(out.read_text())
    name = Model(made.model).attributes[spoilt_attribute(made)]
    assert found["format"] == compare.FORMAT
    assert found["model_sha256"] == files.sha256(spoilt)
    assert found["incumbent_sha256"] == files.sha256(made.model)
    assert found["holdout_sha256"] == files.sha256(made.holdout)
    assert found["samples"] == pq.read_metadata(made.holdout).num_rows
    assert [name for name, row in found["per_attribute"].items() if row["p_worse_holm"] <= ALPHA] == [name]
    assert found["mean_accuracy"]["p_worse"] <= ALPHA
    assert (found["only_model"], found["only_incumbent"]) == ([], [])
    assert found["latency"].keys() == {"batch_1", "batch_64"}
    for row in found["latency"].values():
        assert row["ratio"] == pytest.approx(row["p50_ms"] / row["incumbent_p50_ms"], abs=2e-3)
    assert found["size"]["bytes"] == spoilt.stat().st_size
    assert found["size"]["ratio"] == pytest.approx(1, abs=0.01)


def test_nothing_but_the_latency_differs_between_two_runs(made, spoilt, tmp_path):
    found = []
    for name in ("one.json", "other.json"):
        compare.compare(spoilt, made.model, made.holdout, tmp_path / name)
        found.append(json.loads((tmp_path / name).read_text()))
        del found[-1]["latency"]
    assert found[0] == found[1]


def test_only_common_attributes_are_compared(made, tmp_path):
    names = list(Model(made.model).attributes)
    turned = edited(made.model, tmp_path / "x.onnx", ATTRIBUTES, lambda _: ["Attractive", *names[1:]])
    out = tmp_path / "comparison.json"
    # The hold-out has no labels for what the incumbent alone can tell
    compare.compare(made.model, turned, made.holdout, out)
    found = json.loads(out.read_text())
    assert (found["only_model"], found["only_incumbent"]) == ([names[0]], ["Attractive"])
    assert list(found["per_attribute"]) == names[1:]
    assert found["mean_accuracy"]["difference"] == 0


def test_columns_of_two_models_are_matched_by_name(made, tmp_path):
    names = list(Model(made.model).attributes)
    swapped = edited(made.model, tmp_path / "x.onnx", ATTRIBUTES, lambda _: [names[1], names[0], *names[2:]])
    out = tmp_path / "comparison.json"
    compare.compare(swapped, made.model, made.holdout, out)
    found = json.loads(out.read_text())["per_attribute"]
    predictions = predict(Model(made.model), made.holdout)
    truth = predictions.truth[:, 1]
    assert found[names[1]]["incumbent"] == pytest.approx(
        (predictions.decisions[:, 1] == truth).mean(), abs=1e-6
    )
    assert found[names[1]]["accuracy"] == pytest.approx(
        (predictions.decisions[:, 0] == truth).mean(), abs=1e-6
    )


def test_what_cannot_be_compared(made, tmp_path):
    out = tmp_path / "comparison.json"
    names = [f"Other {number}" for number in range(len(Model(made.model).attributes))]
    alien = edited(made.model, tmp_path / "alien.onnx", ATTRIBUTES, lambda _: names)
    with pytest.raises(ModelError, match="has no attribute in common with"):
        compare.compare(made.model, alien, made.holdout, out)
    with pytest.raises(ModelError, match="no such file"):
        compare.compare(made.model, tmp_path / "none.onnx", made.holdout, out)
    pq.write_table(pq.read_table(made.holdout).slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="holds no images"):
        compare.compare(made.model, made.model, tmp_path / "empty.parquet", out)
    assert not out.exists()


def test_a_labelled_batch_is_judged_by_alone_and_twice_alike(made, tmp_path):
    table = pq.read_table(made.holdout)
    ids = table.column("id").to_pylist()
    late = [f"late/{name}" if index < 10 else name for index, name in enumerate(ids)]
    changed = table.set_column(table.column_names.index("id"), "id", pa.array(late))
    pq.write_table(changed, tmp_path / "holdout.parquet")
    for name in ("one", "two"):
        compare.compare(
            made.model,
            made.variants / "float32.onnx",
            tmp_path / "holdout.parquet",
            tmp_path / name,
            ["late"],
        )
    fits("drifted", (tmp_path / "one").read_bytes())
    figures = json.loads((tmp_path / "one").read_text())
    assert (figures["samples"], figures["batches"]) == (10, ["late"])
    assert not {"latency", "size"} & set(figures)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
