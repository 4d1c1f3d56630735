import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from face_attributes.common.errors import ModelError
from face_attributes.model.onnx_model import Model
from tests.support.command import captured

ROOT = Path(__file__).parents[3]


def test_the_digest_is_of_the_file(made):
    assert Model(made.model).sha256 == hashlib.sha256(made.model.read_bytes()).hexdigest()


def test_a_probability_at_the_threshold_is_a_yes(made):
    model = Model(made.model)
    model.thresholds = np.array([0.5] * len(model.attributes), np.float32)
    probabilities = np.full((1, len(model.attributes)), 0.5, np.float32)
    assert model.decide(probabilities).all()
    assert not model.decide(probabilities - np.float32(1e-6)).any()


def test_a_model_from_before_there_was_an_embedding_is_read_too(made, tmp_path):
    proto = onnx.load(made.model)
    (embedding,) = [value for value in proto.graph.output if value.name == "embedding"]
    proto.graph.output.remove(embedding)
    onnx.save(proto, tmp_path / "old.onnx")
    old, pixels = Model(tmp_path / "old.onnx"), np.zeros((2, 218, 178, 3), np.uint8)
    probabilities, nothing = old.describe(pixels)
    assert (old.embedding, nothing.shape) == (0, (2, 0))
    np.testing.assert_array_equal(probabilities, Model(made.model).predict(pixels))


@pytest.mark.parametrize("location", ["weights.bin", "sub/weights.bin"])
@pytest.mark.parametrize("beside", [True, False])
def test_weights_outside_of_the_file_are_refused(made, tmp_path, monkeypatch, location, beside):
    """ONNX Runtime would look for them in the working directory, and they are not in the digest."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path if beside else tmp_path / "elsewhere"
    (folder / "sub").mkdir(parents=True)
    proto = onnx.load(made.model)
    onnx.save(proto, folder / "m.onnx", save_as_external_data=True, location=location, size_threshold=0)
    with pytest.raises(ModelError, match="has weights outside of the file"):
        Model(folder / "m.onnx")


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_a_truncated_file(made, tmp_path, keep):
    path = tmp_path / "model.onnx"
    path.write_bytes(made.model.read_bytes()[:keep])
    with pytest.raises(ModelError, match="not a readable ONNX file, perhaps truncated") as caught:
        Model(path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        Model(tmp_path / "model.onnx")


def foreign(opset: int = 18, ir: int = 9, shape=("batch", 218, 178, 3), **metadata: Any) -> bytes:
    kind = onnx.TensorProto.FLOAT
    values = [onnx.helper.make_tensor_value_info(name, kind, shape) for name in ("images", "probabilities")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["images"], ["probabilities"])], "graph", values[:1], values[1:]
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=ir)
    onnx.helper.set_model_props(proto, metadata)
    return proto.SerializeToString()


GOOD: dict[str, Any] = {
    "attributes": '["Male"]',
    "thresholds": "[0.5]",
    "profile": "full",
    "variant": "float32",
    "data_digest": "0",
    "params_digest": "0",
}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "its metadata has no attributes"),
        ({**GOOD, "thresholds": "[0.5"}, "its metadata is damaged"),
        ({**GOOD, "thresholds": '["much"]'}, "its metadata is damaged"),
        ({**GOOD, "thresholds": "[0.5, 0.5]"}, "2 thresholds for 1 attributes"),
        (GOOD, r"its inputs and outputs are \[\('images', 'tensor\(float\)'"),
    ],
)
def test_another_projects_model(tmp_path, metadata, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(foreign(**metadata))
    with pytest.raises(ModelError, match=f"not a face-attribute model: {message}"):
        Model(path)


@pytest.mark.parametrize("newer", [{"ir": 99}, {"opset": 99}])
def test_a_file_for_a_newer_runtime(tmp_path: Path, newer: dict[str, Any]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(foreign(**newer, **GOOD))
    with pytest.raises(ModelError, match=r"ONNX Runtime \d+\.\d+\.\d+ is too old for it") as caught:
        Model(path)
    assert "\n" not in str(caught.value)


def test_a_model_leaves_nothing_in_the_home_of_its_user(made, isolated_home, tmp_path):
    """ONNX Runtime keeps an id of the device and a database of events there, unless it is told not to."""
    code = (
        "import sys; from pathlib import Path; from face_attributes.model.onnx_model import Model\n"
        "Model(Path(sys.argv[1]))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    done = captured([sys.executable, "-c", code, str(made.model)], env=environment)
    assert done.returncode == 0, done.stderr
    left = [path for folder in (isolated_home, tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert left == []


@pytest.mark.parametrize("operator", ["Log", "Exp"])
def test_answers_that_are_no_probabilities_are_refused(made, tmp_path, operator):
    """The logarithm of a number below 0 is not a number, and the exponential of one over 0 is over 1."""
    proto = onnx.load(made.model)
    for node in proto.graph.node:
        node.output[:] = ["usual" if name == "probabilities" else name for name in node.output]
        node.input[:] = ["usual" if name == "probabilities" else name for name in node.input]
    shift = np.array(-2 if operator == "Log" else 2, np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(shift, "shift"))
    proto.graph.node.append(onnx.helper.make_node("Add", ["usual", "shift"], ["shifted"]))
    proto.graph.node.append(onnx.helper.make_node(operator, ["shifted"], ["probabilities"]))
    onnx.save(proto, tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match="gives answers that are no probabilities"):
        Model(tmp_path / "odd.onnx").predict(np.zeros((2, 218, 178, 3), np.uint8))
