"""Speed of the exported variants and PyTorch, and the effect of the resize in the graph.

    python -m benchmarks.inference

Needs the outputs of `dvc repro`.
PyTorch runs eagerly, at its best: float32 and bfloat16, both memory formats, no
gradients. The resize is judged on validation images: decisions of the exported float32 graph, which shrinks
photographs itself, against the network on images that were shrunk as those that it was trained on.
"""

import copy
import os
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import turns
from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.common.paths import MODEL, SAMPLE, VARIANTS, WEIGHTS
from face_attributes.data import images
from face_attributes.data.parallel import decoded
from face_attributes.model import weights
from face_attributes.model.export import ExportedNetwork
from face_attributes.model.latency import BATCHES
from face_attributes.model.onnx_model import Model
from face_attributes.training.device import Runtime
from face_attributes.training.loop import predict

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROUNDS = 15
IMAGES = 64  # that each contender sees in its turn, in batches


def main() -> None:
    """Print a table of milliseconds, the two ratios, and the share of changed decisions."""
    console = Console()
    trained = weights.load(WEIGHTS)
    ships = Model(MODEL).variant
    pytorch = _pytorch(ExportedNetwork(trained))
    onnx = {f"ONNX Runtime {name}": Model(VARIANTS / f"{name}.onnx").predict for name in ("float32", "int8")}
    table = Table("milliseconds a batch of", *map(str, BATCHES))
    columns = {}
    for batch in BATCHES:
        pixels = np.random.default_rng(0).integers(0, 256, (batch, HEIGHT, WIDTH, 3), np.uint8)
        contenders = {name: _call(run, pixels) for name, run in {**pytorch, **onnx}.items()}
        columns[batch] = turns.seconds(contenders, ROUNDS, calls=max(1, IMAGES // batch))
    for name in columns[BATCHES[0]]:
        table.add_row(name, *(f"{columns[batch][name] * 1000:.2f}" for batch in BATCHES))
    console.print(table)
    for batch, took in columns.items():
        best = min(pytorch, key=took.__getitem__)
        ratio = took[best] / took[f"ONNX Runtime {ships}"]
        console.print(f"batch {batch}: {ships}, which ships, is [bold]{ratio:.1f}[/] times as fast as {best}")
    changed, total = _changed(trained)
    console.print(
        f"the resize in the graph changes {changed} of {total} decisions: [bold]{changed / total:.3%}[/]"
    )


def _pytorch(shipped: ExportedNetwork) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    channels_last = copy.deepcopy(shipped)
    # The types of torch lack memory_format
    channels_last.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def runner(module: ExportedNetwork, half: bool) -> Callable[[np.ndarray], np.ndarray]:
        @torch.inference_mode()
        def run(pixels: np.ndarray) -> np.ndarray:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                return module(torch.from_numpy(pixels)).float().numpy()

        return run

    return {
        "PyTorch float32": runner(shipped, half=False),
        "PyTorch float32, channels last": runner(channels_last, half=False),
        "PyTorch bfloat16": runner(shipped, half=True),
        "PyTorch bfloat16, channels last": runner(channels_last, half=True),
    }


def _call(run: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: run(pixels)


def _changed(trained: weights.Trained) -> tuple[int, int]:
    model, exact = Model(VARIANTS / "float32.onnx"), Runtime(torch.device("cpu"), bfloat16=False)
    changed = total = 0
    for _, pixels in decoded(SAMPLE, "validation"):
        small = np.stack([images.shrink(image, trained.shrink) for image in pixels])
        as_trained = torch.from_numpy(predict(trained.network, small, exact)).sigmoid().numpy()
        differ = model.decide(model.predict(pixels)) != model.decide(as_trained)
        changed += int(differ.sum())
        total += differ.size
    return changed, total


if __name__ == "__main__":
    main()
