"""Export the trained network to an ONNX file, and check that both give the same results.

There are two variants: float32, and quantised to int8. The int8 variant is chosen if it is faster on this
machine and equally accurate. Equal weights give equal bytes in any folder and process, so the digest of the
file identifies the model.
"""

import json
import logging
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.common.errors import DataError, ModelError
from face_attributes.common.files import replacing, replacing_folder, write_json
from face_attributes.common.paths import EXPORT, MODEL, SAMPLE, VARIANTS, WEIGHTS
from face_attributes.data.parallel import decoded
from face_attributes.model import latency, weights
from face_attributes.model.network import MEAN, SCALE
from face_attributes.model.onnx_model import (
    ATTRIBUTES,
    DATA_DIGEST,
    EMBEDDING,
    INPUT,
    OUTPUT,
    PARAMS_DIGEST,
    PROFILE,
    THRESHOLDS,
    VARIANT,
    Model,
)
from face_attributes.model.quantize import quantise
from face_attributes.model.weights import Trained
from face_attributes.params import ExportParams

log = logging.getLogger(__name__)

_OPSET = 20
# A smaller speed-up is not worth the loss of accuracy, and may be measurement noise
_WORTH_IT = 1.1
# Size of the embedding; small, so that files of scores stay small
_NUMBERS = 8
_SEED = 1


class ExportedNetwork(nn.Module):
    """The network with pre- and postprocessing: probabilities (N, A) of uint8 images (N, 218, 178, 3)."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.network = trained.network
        # A convolution computes the normalised mean of each square, like the preparation of training images
        # (ONNX's own resizing differs). It reads the three colours side by side in a row, because moving
        # them is cheaper once there are fewer pixels.
        factor = trained.shrink
        self.shrink = nn.Conv2d(1, 3, (factor, 3 * factor), stride=(factor, 3 * factor))
        with torch.no_grad():
            self.shrink.weight.zero_()
            for colour in range(3):
                self.shrink.weight[colour, :, :, colour::3] = 1 / (factor**2 * SCALE)
            assert self.shrink.bias is not None
            self.shrink.bias.fill_(-MEAN / SCALE)
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.answer(self.features(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """Return the features (N, F) of the images: the output of the last layer but one."""
        rows = pixels.float().reshape(-1, 1, HEIGHT, WIDTH * 3)
        return self.network.head[:-1](self.network.trunk(self.shrink(rows)))

    def answer(self, features: Tensor) -> Tensor:
        """Return the probabilities (N, A) that the last layer computes from features."""
        return self.network.head[-1](features).sigmoid()


class NetworkWithEmbedding(nn.Module):
    """The network with a second output, an embedding (N, 8): random projections of the features.

    The last layer projects the features onto a direction for each attribute, so its output may stay the same
    while the features move in other directions. Random projections detect all movements in proportion
    (Johnson and Lindenstrauss, Extensions of Lipschitz mappings into a Hilbert space, 1984). They do not
    depend on images, so equal weights still give equal bytes.
    """

    def __init__(self, shipped: ExportedNetwork) -> None:
        super().__init__()
        self.shipped = shipped
        last = shipped.network.head[-1]
        assert isinstance(last, nn.Linear)
        features = last.in_features
        directions = np.random.default_rng(_SEED).standard_normal((_NUMBERS, features)) / math.sqrt(features)
        self.directions = nn.Linear(features, _NUMBERS, bias=False)
        with torch.no_grad():
            self.directions.weight.copy_(torch.from_numpy(directions))
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.shipped.features(pixels)
        return self.shipped.answer(features), self.directions(features)


@dataclass(frozen=True)
class ModelOutputs:
    """Probabilities (N, A) of N images from PyTorch and from each variant, and the bool labels (N, A)."""

    truth: np.ndarray
    pytorch: np.ndarray
    variants: dict[str, np.ndarray]


def export(
    params: ExportParams,
    trained_file: Path = WEIGHTS,
    sample: Path = SAMPLE,
    variants: Path = VARIANTS,
    out: Path = MODEL,
    metrics: Path = EXPORT,
) -> None:
    """Write both variants, the chosen model, and metrics that compare the variants with PyTorch.

    Training images of the sample calibrate the int8 variant. Validation images are for the comparison.

    Raises:
        ModelError: ONNX Runtime differs from PyTorch by more than the parameters allow. Nothing is written.
        DataError: The sample cannot be used.

    """
    trained = weights.load(trained_file)
    shipped = ExportedNetwork(trained)
    with replacing_folder(variants) as folder, replacing(out) as partial:
        float32 = graph(shipped)
        int8 = quantise(float32, (pixels for _, pixels in decoded(sample, "train")))
        models = {}
        for name, proto in (("float32", float32), ("int8", int8)):
            path = folder / f"{name}.onnx"
            path.write_bytes(serialise(proto, trained, name))
            models[name] = Model(path)
        compared = compare(shipped, models, sample)
        figures = judge(params, compared, models)
        content = (folder / f"{figures['variant']}.onnx").read_bytes()
        partial.write_bytes(content)
    write_json(metrics, figures)
    times = " or ".join(
        f"{name} {figure['bytes'] / 1e6:.1f} MB, {figure['latency_ms']['1']:g} ms"
        for name, figure in figures["variants"].items()
    )
    log.info(f"export: {out} is {figures['variant']} ({times}), PyTorch {figures['max_difference']:.0e} away")


def graph(shipped: ExportedNetwork) -> onnx.ModelProto:
    """Return the model in float32 as an ONNX graph."""
    example = torch.zeros(2, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    # The exporter warns about its internals and about packages that are not needed
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            NetworkWithEmbedding(shipped),
            (example,),
            dynamo=True,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=[INPUT],
            output_names=[OUTPUT, EMBEDDING],
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _strip(proto)
    return proto


def serialise(proto: onnx.ModelProto, trained: Trained, variant: str) -> bytes:
    """Return the bytes of a model file: the graph, and the metadata of the model."""
    metadata = {
        ATTRIBUTES: json.dumps(list(trained.attributes)),
        THRESHOLDS: json.dumps(list(trained.thresholds)),
        PROFILE: trained.profile,
        VARIANT: variant,
        DATA_DIGEST: trained.data_digest,
        PARAMS_DIGEST: trained.params_digest,
    }
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)


@torch.inference_mode()
def compare(shipped: ExportedNetwork, models: dict[str, Model], sample: Path) -> ModelOutputs:
    """Compute the probabilities of the sample's validation images with PyTorch and each variant.

    Raises:
        DataError: The sample has no validation images.

    """
    truth, pytorch = [], []
    variants: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for rows, pixels in decoded(sample, "validation"):
        truth.append(rows.labels)
        pytorch.append(shipped(torch.from_numpy(pixels)).numpy())
        for name, model in models.items():
            variants[name].append(model.predict(pixels))
    if not truth:
        raise DataError(f"{sample}: holds no validation images; run the stage prepare again")
    return ModelOutputs(
        np.concatenate(truth),
        np.concatenate(pytorch),
        {name: np.concatenate(answers) for name, answers in variants.items()},
    )


def judge(params: ExportParams, compared: ModelOutputs, models: dict[str, Model]) -> dict:
    """Return the metrics of both variants, and the name of the chosen variant.

    Raises:
        ModelError: No variant satisfies the limits.

    """
    exact = models["float32"]
    difference = float(np.abs(compared.pytorch - compared.variants["float32"]).max())
    changed = _changed(exact, compared.pytorch, compared.variants["float32"])
    if difference > params.tolerance or changed:
        raise ModelError(
            f"not written: ONNX Runtime and PyTorch differ by {difference:.1e} "
            f"(tolerance {params.tolerance:g}) and in {changed} decisions"
        )
    figures = _variants(compared, models)
    loss = figures["float32"]["accuracy"] - figures["int8"]["accuracy"]
    gain = math.prod(
        slow / fast
        for slow, fast in zip(
            figures["float32"]["latency_ms"].values(), figures["int8"]["latency_ms"].values(), strict=True
        )
    ) ** (1 / len(latency.BATCHES))
    accurate = loss <= params.max_accuracy_loss
    variant = params.variant
    if variant == "auto":
        variant = "int8" if accurate and gain >= _WORTH_IT else "float32"
    if variant == "int8" and not accurate:
        raise ModelError(
            f"not written: int8 loses {loss:.4f} of accuracy (params.yaml: export.max_accuracy_loss "
            f"{params.max_accuracy_loss:g}); set export.variant to auto or float32"
        )
    return {
        "format": 1,
        "variant": variant,
        "model_sha256": models[variant].sha256,
        "images": len(compared.truth),
        "max_difference": float(f"{difference:.1e}"),
        "tolerance": params.tolerance,
        "decisions_changed": changed,
        "accuracy_loss": round(loss if variant == "int8" else 0.0, 5),
        "max_accuracy_loss": params.max_accuracy_loss,
        "int8_gain": float(f"{gain:.3g}"),
        "variants": figures,
    }


def _strip(proto: onnx.ModelProto) -> None:
    """Remove the exporter's metadata, such as stack traces with the paths of this machine."""
    del proto.metadata_props[:]
    graph = proto.graph
    for holder in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    del graph.value_info[:]


def _variants(compared: ModelOutputs, models: dict[str, Model]) -> dict[str, dict]:
    times: dict[str, dict[str, float]] = {name: {} for name in models}
    for batch in latency.BATCHES:
        for name, timing in zip(models, latency.measure(list(models.values()), batch), strict=True):
            times[name][str(batch)] = float(f"{timing.p50_ms:.3g}")
    figures = {}
    for name, model in models.items():
        decisions = model.decide(compared.variants[name])
        figures[name] = {
            "model_sha256": model.sha256,
            "bytes": model.bytes,
            "accuracy": round(float((decisions == compared.truth).mean()), 5),
            "decisions_changed": round(float((decisions != model.decide(compared.pytorch)).mean()), 5),
            "latency_ms": times[name],
        }
    return figures


def _changed(model: Model, ours: np.ndarray, theirs: np.ndarray) -> int:
    # A probability at the threshold may fall on either side
    clear = np.abs(ours - model.thresholds) > np.abs(ours - theirs)
    return int(((model.decide(ours) != model.decide(theirs)) & clear).sum())
