import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from face_attributes import export, images, weights
from face_attributes.errors import DataError, ModelError
from face_attributes.loop import predict
from face_attributes.model import Model
from face_attributes.runtime import Runtime
from face_attributes.shards import ShardReader

PROGRAM = """
import sys
from pathlib import Path
from face_attributes import export, weights
trained = weights.load(Path(sys.argv[1]))
shipped = export.Shipped(trained.network, trained.shrink).eval()
Path(sys.argv[2]).write_bytes(export.serialise(shipped, trained))
"""


def test_equal_weights_are_equal_bytes_in_another_folder_and_process(made, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    subprocess.run(
        [sys.executable, "program.py", made.weights, "model.onnx"], cwd=folder, check=True, timeout=120
    )
    assert (folder / "model.onnx").read_bytes() == made.model.read_bytes()


def test_nothing_of_this_machine_is_in_the_file(made):
    content = made.model.read_bytes()
    for trace in (str(Path(export.__file__).parent), "site-packages", str(made.home)):
        assert trace.encode() not in content


def test_the_file_needs_nothing_beside_it(made, tmp_path):
    alone = tmp_path / "model.onnx"
    alone.write_bytes(made.model.read_bytes())
    proto = onnx.load(alone)
    onnx.checker.check_model(proto, full_check=True)
    assert not any(tensor.external_data for tensor in proto.graph.initializer)
    assert Model(alone).predict(np.zeros((1, 218, 178, 3), np.uint8)).shape[0] == 1


def test_names_thresholds_and_digests_travel_in_the_file(made, tmp_path):
    trained = weights.load(made.weights)
    thresholds = tuple(round(0.3 + 0.01 * index, 2) for index in range(len(trained.attributes)))
    changed = dataclasses.replace(trained, thresholds=thresholds, profile="small")
    shipped = export.Shipped(changed.network, changed.shrink).eval()
    (tmp_path / "model.onnx").write_bytes(export.serialise(shipped, changed))
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
    model = Model(made.model)
    np.testing.assert_allclose(
        model.predict(np.stack(decoded)), torch.from_numpy(logits).sigmoid().numpy(), atol=0.02
    )


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_any_number_of_images_and_none_minds_the_others(made, count):
    model = Model(made.model)
    random = np.random.default_rng(0)
    some = random.integers(0, 256, (count, 218, 178, 3), np.uint8)
    together = model.predict(some)
    assert together.shape == (count, len(model.attributes))
    np.testing.assert_allclose(model.predict(some[-1:])[0], together[-1], atol=1e-5)


def test_figures_of_the_parity(made):
    figures = json.loads(made.parity.read_text())
    assert figures["max_difference"] <= 1e-4 == figures["tolerance"]
    assert figures["decisions_changed"] == 0
    assert figures["images"] == 16
    assert figures["bytes"] == made.model.stat().st_size
    assert figures["model_sha256"] == Model(made.model).sha256
    assert figures["latency_ms"] > 0


def test_a_model_that_differs_is_not_written(made, tiny, tmp_path, monkeypatch):
    class Wrong(Model):
        def predict(self, pixels):
            return super().predict(pixels) + np.float32(0.001)

    monkeypatch.setattr(export, "Model", Wrong)
    with pytest.raises(ModelError, match=r"not written: .* differ by 1\.0e-03 \(tolerance 0\.0001\)"):
        export.export(tiny.export, made.weights, made.holdout, tmp_path / "m.onnx", tmp_path / "e.json")
    assert not list(tmp_path.iterdir())


def test_a_holdout_that_is_not_there(made, tiny, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        export.export(tiny.export, made.weights, tmp_path / "none", tmp_path / "m.onnx", tmp_path / "e.json")
    assert not list(tmp_path.iterdir())
