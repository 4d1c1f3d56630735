"""Models that see nothing but colours, and faces of one colour for them."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper


def model(weights: list[float], bias: float) -> bytes:
    """A model of two attributes: how red and how green a face is."""
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["scores"]),
        helper.make_node("Sigmoid", ["scores"], ["probabilities"]),
    ]
    values = [
        helper.make_tensor("weights", TensorProto.FLOAT, [3, 2], weights),
        helper.make_tensor("bias", TensorProto.FLOAT, [2], [bias, bias]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 218, 178, 3])
    said = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "colours", [images], [said], values)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    metadata = {
        "attributes": json.dumps(["Smiling", "Male"]),
        "thresholds": "[0.5, 0.5]",
        "profile": "full",
        "variant": "float32",
        "data_digest": "x",
        "params_digest": "x",
    }
    helper.set_model_props(made, metadata)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def holdout(path: Path) -> bytes:
    """Faces of one colour, in which red is a smile and green a man."""
    rows: dict[str, list[Any]] = {name: [] for name in ("id", "jpeg", "partition", "Smiling", "Male")}
    for number in range(120):
        red, green = bool(number % 2), bool(number // 2 % 2)
        pixels = np.zeros((218, 178, 3), np.uint8)
        pixels[..., 2], pixels[..., 1] = 200 * red, 200 * green
        values = (f"{number}.jpg", cv2.imencode(".jpg", pixels)[1].tobytes(), "test", red, green)
        for name, value in zip(rows, values, strict=True):
            rows[name].append(value)
    pq.write_table(pa.table(rows), path)
    return path.read_bytes()
