"""Export: from PyTorch to the ONNX file that ships, and proof that both say the same.

Equal weights give equal bytes, in whatever folder and process: the digest of the file names the model.
"""

import json
import logging
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from face_attributes import images, weights
from face_attributes.attributes import HEIGHT, WIDTH
from face_attributes.errors import ModelError
from face_attributes.files import replacing, write_json
from face_attributes.model import (
    ATTRIBUTES,
    DATA_DIGEST,
    INPUT,
    OUTPUT,
    PARAMS_DIGEST,
    PROFILE,
    THRESHOLDS,
    Model,
)
from face_attributes.network import MEAN, SCALE, FaceNet
from face_attributes.params import ExportParams
from face_attributes.paths import EXPORT, HOLDOUT, MODEL, WEIGHTS
from face_attributes.shards import ShardReader
from face_attributes.weights import Trained

_OPSET = 20
_BATCH = 64
_LATENCY_RUNS = 50


class Shipped(nn.Module):
    """The network with what surrounds it: probabilities (N, A) from uint8 RGB images (N, 218, 178, 3)."""

    def __init__(self, network: FaceNet, factor: int) -> None:
        super().__init__()
        self.network = network
        # One convolution takes the mean of each square, as was done to the training images (ONNX's own
        # resizing would not), and normalises it. It reads the three colours where they came, side by side in
        # a row: to move them is cheaper once there are fewer pixels.
        self.shrink = nn.Conv2d(1, 3, (factor, 3 * factor), stride=(factor, 3 * factor))
        with torch.no_grad():
            self.shrink.weight.zero_()
            for colour in range(3):
                self.shrink.weight[colour, :, :, colour::3] = 1 / (factor**2 * SCALE)
            self.shrink.bias.fill_(-MEAN / SCALE)

    def forward(self, pixels: Tensor) -> Tensor:
        rows = pixels.float().reshape(-1, 1, HEIGHT, WIDTH * 3)
        return self.network(self.shrink(rows)).sigmoid()


def export(
    params: ExportParams,
    trained_file: Path = WEIGHTS,
    holdout: Path = HOLDOUT,
    out: Path = MODEL,
    metrics: Path = EXPORT,
) -> None:
    """Write the ONNX model and the figures that compare it with PyTorch on hold-out images.

    Raises:
        ModelError: they differ by more than the tolerance; nothing is written then.
        DataError: the hold-out set cannot be used.

    """
    trained = weights.load(trained_file)
    shipped = Shipped(trained.network, trained.shrink).eval()
    with replacing(out) as partial:
        partial.write_bytes(serialise(shipped, trained))
        model = Model(partial)
        figures = _parity(shipped, model, _some_images(holdout, params.parity_images))
        if figures["max_difference"] > params.tolerance or figures["decisions_changed"]:
            raise ModelError(
                f"{out}: not written: ONNX Runtime and PyTorch differ by {figures['max_difference']:.1e} "
                f"(tolerance {params.tolerance:g}) and in {figures['decisions_changed']} decisions"
            )
        figures["tolerance"] = params.tolerance
        figures["model_sha256"] = model.sha256
        figures["bytes"] = partial.stat().st_size
        figures["latency_ms"] = _latency(model)
    write_json(metrics, figures)
    size, difference = figures["bytes"] / 1e6, figures["max_difference"]
    print(f"export: {out}, {size:.1f} MB, differs from PyTorch by {difference:.0e} at most")


def serialise(shipped: Shipped, trained: Trained) -> bytes:
    """Return the model as ONNX, the same bytes for the same weights."""
    example = torch.zeros(2, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    # The exporter warns about its own insides and about packages that are not needed
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            shipped,
            (example,),
            dynamo=True,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=_OPSET,
            verbose=False,
        )
    proto = program.model_proto
    _strip(proto)
    metadata = {
        ATTRIBUTES: json.dumps(list(trained.attributes)),
        THRESHOLDS: json.dumps(list(trained.thresholds)),
        PROFILE: trained.profile,
        DATA_DIGEST: trained.data_digest,
        PARAMS_DIGEST: trained.params_digest,
    }
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)


def _strip(proto: onnx.ModelProto) -> None:
    """Remove what the exporter notes about itself: stack traces with the paths of this machine."""
    del proto.metadata_props[:]
    graph = proto.graph
    for holder in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    del graph.value_info[:]


def _some_images(holdout: Path, count: int) -> np.ndarray:
    decoded: list[np.ndarray] = []
    for rows in ShardReader([holdout]).batches():
        decoded += [images.decode(jpeg) for jpeg in rows.jpegs[: count - len(decoded)]]
        if len(decoded) == count:
            break
    return np.stack(decoded)


@torch.inference_mode()
def _parity(shipped: Shipped, model: Model, pixels: np.ndarray) -> dict:
    difference, changed = 0.0, 0
    for start in range(0, len(pixels), _BATCH):
        batch = pixels[start : start + _BATCH]
        ours, theirs = shipped(torch.from_numpy(batch)).numpy(), model.predict(batch)
        difference = max(difference, float(np.abs(ours - theirs).max()))
        # A probability that lies on the threshold itself may fall on either side
        clear = np.abs(ours - model.thresholds) > np.abs(ours - theirs)
        changed += int(((model.decide(ours) != model.decide(theirs)) & clear).sum())
    return {
        "images": len(pixels),
        "max_difference": float(f"{difference:.1e}"),
        "decisions_changed": changed,
    }


def _latency(model: Model) -> float:
    """Return the milliseconds that one image takes, the median of some runs."""
    image = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    times = []
    for _ in range(_LATENCY_RUNS):
        start = time.perf_counter()
        model.predict(image)
        times.append(time.perf_counter() - start)
    return float(f"{np.median(times) * 1000:.2g}")
