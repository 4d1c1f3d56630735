"""How much of the training time the data costs: training from mapped files against tensors in memory.

    python -m benchmarks.training

Both do the same steps with params.yaml's `train`; one reads, gathers and augments images of a file, the other
has a batch in memory. 1.0 would be data for nothing.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks import turns
from face_attributes import params
from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES
from face_attributes.data import arrays, images
from face_attributes.training import loop
from face_attributes.training.device import choose
from face_attributes.training.learner import Learner

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
STEPS, ROUNDS = 40, 7


def main() -> None:
    """Print the ratio, in the precision that a training here would choose."""
    loaded = params.load()
    options = loaded.train
    shape = images.shrunk_shape(loaded.prepare.shrink)
    attributes = len(CELEBA_ATTRIBUTES)
    runtime = choose(options, shape, attributes)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        part = _part(Path(folder), STEPS * options.batch_size, shape, attributes)
        learner = Learner(attributes, shape, options, runtime)
        ready = next(iter(loop.batches(part, options, 0, runtime)))

        def from_files() -> None:
            for batch in loop.batches(part, options, 0, runtime):
                learner.step(*batch[:2], spent=0.5)

        def from_memory() -> None:
            for _ in range(STEPS):
                learner.step(*ready[:2], spent=0.5)

        took = turns.seconds({"files": from_files, "memory": from_memory}, ROUNDS)
    speeds = {name: len(part) / spent for name, spent in took.items()}
    Console().print(
        f"training, width {options.width}, {runtime.precision}: {speeds['files']:.0f} images/s from mapped "
        f"files, {speeds['memory']:.0f} on tensors in memory: "
        f"[bold]{speeds['files'] / speeds['memory']:.2f}[/] of it"
    )


def _part(folder: Path, rows: int, shape: tuple[int, int], attributes: int) -> arrays.Part:
    random = np.random.default_rng(0)
    with arrays.PartWriter(folder, "train", rows, shape, attributes) as writer:
        for _ in range(rows):
            writer.append(random.integers(0, 256, (*shape, 3), np.uint8), random.random(attributes) < 0.5)
    return arrays.load_part(folder, "train")


if __name__ == "__main__":
    main()
