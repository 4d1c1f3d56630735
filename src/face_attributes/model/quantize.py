"""Quantisation: the exported graph in whole numbers of eight bits, a quarter of the size and faster on a CPU.

Static quantisation (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 2): weights are int8 from -64 to 64, with a scale for
each output channel, activations uint8 with a range that calibration images span. Probabilities stay float32.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from face_attributes.model.onnx_model import INPUT

_KINDS = ["Add", "Conv", "Relu", "MaxPool"]


class _Images(CalibrationDataReader):
    def __init__(self, batches: Iterable[np.ndarray]) -> None:
        self._batches: Iterator[np.ndarray] = iter(batches)

    # None ends the batches, which ONNX Runtime's types lack.
    def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def quantise(proto: onnx.ModelProto, batches: Iterable[np.ndarray]) -> onnx.ModelProto:
    """Return the graph quantised; equal graphs and images give equal bytes.

    Args:
        proto: the graph that `export` makes: a cast of the pixels, a reshaping, then the network.
        batches: uint8 RGB images (N, 218, 178, 3) whose activations span the ranges.

    """
    pixels = _pixels(proto)
    with tempfile.TemporaryDirectory(prefix="visage-quantise-") as folder:
        given, inferred, made = (Path(folder) / name for name in ("given", "inferred", "made"))
        given.write_bytes(proto.SerializeToString())
        quant_pre_process(given, inferred, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            inferred,
            made,
            _Images(batches),
            quant_format=QuantFormat.QDQ,
            # Without Gemm. The logits decide: in eight bits they would cost accuracy, and save nothing. Nor
            # would the embedding
            op_types_to_quantize=_KINDS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            # Weights of 7 bits: processors with AVX2 and without VNNI add two products of 8 bits in 16 bits,
            # where the largest ones do not fit, and the sum is cut off without a word
            reduce_range=True,
            # Of pixels all 256 values, whatever the calibration images happen to span: scale 1, offset 0
            extra_options={
                "TensorQuantOverrides": {pixels.output[0]: [{"rmin": np.float32(0), "rmax": np.float32(255)}]}
            },
        )
        quantised = onnx.load(made)
    _feed_pixels_as_they_are(quantised)
    return quantised


def _pixels(proto: onnx.ModelProto) -> NodeProto:
    """Return the reshaping that the cast pixels go through."""
    cast = _only_user(proto, INPUT, "Cast")
    return _only_user(proto, cast.output[0], "Reshape")


def _feed_pixels_as_they_are(proto: onnx.ModelProto) -> None:
    """Take out the way from uint8 to float32 and back to the same uint8."""
    cast, reshape = _only_user(proto, INPUT, "Cast"), _pixels(proto)
    back = _only_user(proto, reshape.output[0], "QuantizeLinear")
    on = _only_user(proto, back.output[0], "DequantizeLinear")
    reshape.input[0], on.input[0] = cast.input[0], reshape.output[0]
    proto.graph.node.remove(cast)
    proto.graph.node.remove(back)
    del proto.graph.value_info[:]


def _only_user(proto: onnx.ModelProto, value: str, kind: str) -> NodeProto:
    users = [node for node in proto.graph.node if value in node.input]
    assert [node.op_type for node in users] == [kind], f"{value} goes to {[node.op_type for node in users]}"
    return users[0]
