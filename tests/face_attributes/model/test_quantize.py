import numpy as np
import onnx
import pytest

from face_attributes.model.onnx_model import Model
from face_attributes.model.quantize import quantise


def pixels(count=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 218, 178, 3), np.uint8)


@pytest.fixture
def float32(made):
    return onnx.load(made.variants / "float32.onnx")


def test_convolutions_compute_in_whole_numbers_and_logits_and_embedding_do_not(float32):
    graph = quantise(float32, [pixels()]).graph
    producers = {value: node for node in graph.node for value in node.output}
    inputs = {
        kind: [producers[node.input[0]].op_type for node in graph.node if node.op_type == kind]
        for kind in ("Add", "Conv")
    }
    assert set(inputs["Conv"]) == set(inputs["Add"]) == {"DequantizeLinear"}
    weights = {one.name: one for one in graph.initializer}
    last = [node for node in graph.node if node.op_type == "Gemm"]
    assert [weights[node.input[1]].data_type for node in last] == [onnx.TensorProto.FLOAT] * 2


def test_pixels_go_in_as_they_are(float32):
    graph = quantise(float32, [pixels() // 2]).graph  # the calibration saw half of the range
    assert not [node for node in graph.node if node.op_type == "Cast"]
    (first,) = [node for node in graph.node if "images" in node.input]
    (on,) = [node for node in graph.node if first.output[0] in node.input]
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    assert (values[on.input[1]].item(), values[on.input[2]].item()) == (1.0, 0)


def test_the_graph_that_was_given_is_left_alone(float32):
    before = float32.SerializeToString()
    quantise(float32, [pixels()])
    assert float32.SerializeToString() == before


def test_it_says_nearly_the_same(made):
    exact, rough = (Model(made.variants / f"{name}.onnx") for name in ("float32", "int8"))
    some = pixels(16, seed=1)
    assert np.abs(exact.predict(some) - rough.predict(some)).max() < 0.1
    assert rough.bytes < 0.35 * exact.bytes


def test_two_products_fit_sixteen_bits_on_a_processor_without_vnni(made):
    """AVX2 multiplies bytes by signed bytes, and adds neighbours in 16 bits, which it cuts off."""
    graph = onnx.load(made.variants / "int8.onnx").graph
    weights = [
        one for one in graph.initializer if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1
    ]
    assert len(weights) == sum(node.op_type in ("Conv", "Gemm") for node in graph.node) - 2
    for one in weights:
        largest = np.abs(onnx.numpy_helper.to_array(one).astype(int)).max()
        assert 2 * 255 * largest <= np.iinfo(np.int16).max, one.name
        assert largest >= 63, f"{one.name}: less than the bits that fit"
