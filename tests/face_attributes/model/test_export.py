import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from face_attributes.common.errors import DataError, ModelError
from face_attributes.data import images
from face_attributes.data.parallel import decoded
from face_attributes.data.shards import ShardReader
from face_attributes.model import export, latency, weights
from face_attributes.model.onnx_model import Model
from face_attributes.training.device import Runtime
from face_attributes.training.loop import predict

PROGRAM = """
import sys
from pathlib import Path
from face_attributes.model import export
from face_attributes.params import ExportParams
params = ExportParams(variant="auto", tolerance=1e-4, max_accuracy_loss=0.5)
export.export(params, Path(sys.argv[1]), Path(sys.argv[2]), Path("v"), Path("m.onnx"), Path("e.json"))
"""


def test_equal_weights_are_equal_bytes_in_another_folder_and_process(made, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    subprocess.run(
        [sys.executable, "program.py", made.weights, made.sample], cwd=folder, check=True, timeout=120
    )
    for name in ("float32.onnx", "int8.onnx"):
        assert (folder / "v" / name).read_bytes() == (made.variants / name).read_bytes()


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_nothing_of_this_machine_is_in_the_file(made, variant):
    content = (made.variants / f"{variant}.onnx").read_bytes()
    for trace in (
        str(Path(export.__file__).parents[2]),
        "site-packages",
        str(made.home),
        tempfile.gettempdir(),
    ):
        assert trace.encode() not in content


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_the_file_needs_nothing_beside_it(made, tmp_path, variant):
    alone = tmp_path / "model.onnx"
    alone.write_bytes((made.variants / f"{variant}.onnx").read_bytes())
    proto = onnx.load(alone)
    onnx.checker.check_model(proto, full_check=True)
    assert not any(tensor.external_data for tensor in proto.graph.initializer)
    assert Model(alone).predict(np.zeros((1, 218, 178, 3), np.uint8)).shape[0] == 1


def test_names_thresholds_and_digests_travel_in_the_file(made, tmp_path):
    trained = weights.load(made.weights)
    thresholds = tuple(round(0.3 + 0.01 * index, 2) for index in range(len(trained.attributes)))
    changed = dataclasses.replace(trained, thresholds=thresholds, profile="small")
    graph = export.graph(export.ExportedNetwork(changed))
    (tmp_path / "model.onnx").write_bytes(export.serialise(graph, changed, "float32"))
    model = Model(tmp_path / "model.onnx")
    assert model.attributes == trained.attributes
    np.testing.assert_array_equal(model.thresholds, np.array(thresholds, np.float32))
    assert model.profile == "small"
    assert (model.data_digest, model.params_digest) == (trained.data_digest, trained.params_digest)


def test_it_says_what_the_network_says_of_the_images_it_was_trained_on(made):
    trained = weights.load(made.weights)
    decoded = [images.decode(jpeg) for jpeg in next(ShardReader([made.holdout]).batches(16)).jpegs]
    small = np.stack([images.shrink(image, trained.shrink) for image in decoded])
    logits = predict(trained.network, small, Runtime(torch.device("cpu"), bfloat16=False))
    model = Model(made.variants / "float32.onnx")
    np.testing.assert_allclose(
        model.predict(np.stack(decoded)), torch.from_numpy(logits).sigmoid().numpy(), atol=0.02
    )


@pytest.mark.parametrize("variant", ["float32", "int8"])
@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_any_number_of_images_and_none_minds_the_others(made, count, variant):
    model = Model(made.variants / f"{variant}.onnx")
    random = np.random.default_rng(0)
    some = random.integers(0, 256, (count, 218, 178, 3), np.uint8)
    together = model.predict(some)
    assert together.shape == (count, len(model.attributes))
    np.testing.assert_allclose(model.predict(some[-1:])[0], together[-1], atol=1e-5)


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_the_embedding_is_of_the_last_layer_but_one(made, variant):
    shipped = export.ExportedNetwork(weights.load(made.weights))
    model = Model(made.variants / f"{variant}.onnx")
    _, pixels = next(decoded(made.sample))
    with torch.inference_mode():
        expected = export.NetworkWithEmbedding(shipped)(torch.from_numpy(pixels))[1].numpy()
        features = shipped.features(torch.from_numpy(pixels))
    probabilities, embedding = model.describe(pixels)
    assert embedding.shape == (len(pixels), 8) == (len(pixels), model.embedding)
    np.testing.assert_array_equal(probabilities, model.predict(pixels))
    spread = expected.std(axis=0)
    assert (spread > 0).all()
    tolerance = 1e-4 if variant == "float32" else 0.5 * spread.max()
    np.testing.assert_allclose(embedding, expected, atol=tolerance)
    # As far apart as in the features, more or less: few directions are rough
    one, other = (np.linalg.norm(some[0] - some[1:], axis=1) for some in (features.numpy(), expected))
    assert np.corrcoef(one, other)[0, 1] > 0.3


def test_figures_of_the_parity(made):
    figures = json.loads(made.parity.read_text())
    assert figures["max_difference"] <= 1e-4 == figures["tolerance"]
    assert figures["decisions_changed"] == 0
    assert figures["images"] == 20
    assert figures["model_sha256"] == Model(made.model).sha256


def test_figures_of_both_variants(made):
    figures = json.loads(made.parity.read_text())
    assert list(figures["variants"]) == ["float32", "int8"]
    for name, figure in figures["variants"].items():
        path = made.variants / f"{name}.onnx"
        model = Model(path)
        assert model.variant == name
        assert (figure["bytes"], figure["model_sha256"]) == (path.stat().st_size, model.sha256)
        assert list(figure["latency_ms"]) == ["1", "64"]
        assert all(milliseconds > 0 for milliseconds in figure["latency_ms"].values())
        truth, answers = [], []
        for rows, pixels in decoded(made.sample, "validation"):
            truth.append(rows.labels)
            answers.append(model.decide(model.predict(pixels)))
        assert figure["accuracy"] == pytest.approx(
            np.mean(np.concatenate(truth) == np.concatenate(answers)), abs=1e-5
        )
    assert figures["variants"]["float32"]["decisions_changed"] == 0
    assert made.model.read_bytes() == (made.variants / f"{figures['variant']}.onnx").read_bytes()


def run(made, params, home, sample=None):
    sample = sample or made.sample
    export.export(params, made.weights, sample, home / "variants", home / "m.onnx", home / "e.json")
    return Model(home / "m.onnx"), json.loads((home / "e.json").read_text())


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_a_named_variant_ships(made, tiny, tmp_path, variant):
    model, figures = run(made, tiny.export.model_copy(update={"variant": variant}), tmp_path)
    assert model.variant == figures["variant"] == variant


@pytest.mark.parametrize(
    ("gain", "loss", "chosen"), [(1.5, 0.0, "int8"), (1.05, 0.0, "float32"), (1.5, 0.02, "float32")]
)
def test_what_ships_is_the_faster_of_those_that_decide_as_well(made, tiny, monkeypatch, gain, loss, chosen):
    models = {name: Model(made.variants / f"{name}.onnx") for name in ("float32", "int8")}
    monkeypatch.setattr(
        latency,
        "measure",
        lambda some, batch: [latency.Latency(batch, gain, gain), latency.Latency(batch, 1.0, 1.0)],
    )
    figures = export.judge(tiny.export, spoilt(models, loss), models)
    assert figures["variant"] == chosen
    assert figures["model_sha256"] == models[chosen].sha256
    assert figures["accuracy_loss"] == pytest.approx(loss if chosen == "int8" else 0, abs=1e-3)


def test_an_int8_that_costs_too_much_does_not_ship_even_when_asked_for(made, tiny):
    models = {name: Model(made.variants / f"{name}.onnx") for name in ("float32", "int8")}
    with pytest.raises(
        ModelError, match=r"not written: int8 loses 0\.02.. of accuracy .* set export\.variant to"
    ):
        export.judge(tiny.export.model_copy(update={"variant": "int8"}), spoilt(models, 0.02), models)


def spoilt(models, loss):
    """Answers that are all right, but for a share of the int8 variant's."""
    count = len(models["int8"].attributes)
    truth = np.ones((1000, count), bool)
    right = np.full((1000, count), 0.99, np.float32)
    wrong = right.copy()
    wrong[: int(1000 * loss)] = 0
    return export.ModelOutputs(truth, right, {"float32": right, "int8": wrong})


def test_a_model_that_differs_is_not_written(made, tiny, tmp_path, monkeypatch):
    class Wrong(Model):
        def predict(self, pixels):
            return super().predict(pixels) + np.float32(0.001)

    monkeypatch.setattr(export, "Model", Wrong)
    with pytest.raises(ModelError, match=r"not written: .* differ by 1\.0e-03 \(tolerance 0\.0001\)"):
        run(made, tiny.export, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_sample_that_is_not_there(made, tiny, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        export.export(
            tiny.export, made.weights, tmp_path / "none", tmp_path / "v", tmp_path / "m", tmp_path / "e"
        )
    assert not list(tmp_path.iterdir())


def test_a_sample_without_validation_images(made, tiny, tmp_path):
    table = pq.read_table(made.sample)
    pq.write_table(table.filter(pc.equal(table.column("partition"), "train")), tmp_path / "sample.parquet")
    with pytest.raises(DataError, match="holds no validation images; run the stage prepare again"):
        run(made, tiny.export, tmp_path / "out", tmp_path / "sample.parquet")
    assert not list((tmp_path / "out").iterdir())
