"""How much memory a data set of CelebA's size takes: collect, prepare, and some steps of training.

    python -m benchmarks.memory [--images 202599] [--folder /somewhere/with/10/GB]

The photographs are a few drawn faces under many names, hard links, in the CelebA layout. Each stage is a
process of its own; its peak is what the system says of it, files that it maps included.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from drawn_faces import SyntheticParams
from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES
from face_attributes.data.drawn_folder import draw_folder

CHECKOUT = Path(__file__).resolve().parents[1]
FACES = 1000
STEPS = """
import itertools, sys
from face_attributes import loop, params, prepared
from face_attributes.learner import Learner
from face_attributes.paths import PREPARED
from face_attributes.runtime import choose
data, options = prepared.load(PREPARED), params.load(source="celeba").train
runtime = choose(options, data.info.shape, len(data.info.attributes))
learner = Learner(len(data.info.attributes), data.info.shape, options, runtime)
for step, batch in enumerate(itertools.islice(loop.batches(data.train, options, 0, runtime), 300)):
    learner.step(*batch, spent=0.5)
    if step % loop.STEPS_KEPT == 0:
        data.train.release()
"""


def main() -> None:
    """Print a table: for each stage its peak of resident memory, and images/s."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--images", type=int, default=202_599, help="how many photographs (default: CelebA's)"
    )
    parser.add_argument("--folder", type=Path, help="where to work; some 50 kB an image (default: temporary)")
    arguments = parser.parse_args()
    table = Table("stage", "peak, MB", "images/s")
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=arguments.folder) as temporary:
        home = Path(temporary)
        celeba = _many(home, arguments.images)
        shutil.copy(CHECKOUT / "params.yaml", home)
        params = (home / "params.yaml").read_text().replace("source: synthetic", "source: celeba")
        (home / "params.yaml").write_text(params)
        for stage, program in {
            "collect": ["-m", "face_attributes", "collect"],
            "prepare": ["-m", "face_attributes", "prepare"],
            "300 steps of training": ["-c", STEPS],
        }.items():
            peak, seconds = _measured([sys.executable, *program], home, celeba)
            count = arguments.images if program[0] == "-m" else 300 * 128
            table.add_row(stage, f"{peak / 1e6:.0f}", f"{count / seconds:.0f}")
    Console().print(table)


def _many(home: Path, count: int) -> Path:
    drawn, celeba = home / "drawn", home / "celeba"
    draw_folder(SyntheticParams(count=FACES, seed=1), drawn)
    faces = sorted((drawn / "img_align_celeba").iterdir())
    folder = celeba / "img_align_celeba"
    folder.mkdir(parents=True)
    labels = np.random.default_rng(0).choice(["-1", "1"], (count, len(CELEBA_ATTRIBUTES)))
    with (celeba / "list_attr_celeba.txt").open("w") as file:
        file.write(f"{count}\n{' '.join(CELEBA_ATTRIBUTES)}\n")
        for index in range(count):
            name = f"{index + 1:06d}.jpg"
            os.link(faces[index % FACES], folder / name)
            file.write(f"{name} {' '.join(labels[index])}\n")
    return celeba


def _measured(command: list[str], home: Path, celeba: Path) -> tuple[int, float]:
    """Return the peak of resident memory in bytes and the seconds of a command."""
    wrapper = (
        "import json, resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(json.dumps(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", wrapper, *command],
        cwd=home,
        env={**os.environ, "CELEBA_DIR": str(celeba), "OMP_WAIT_POLICY": "PASSIVE"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(done.stdout.splitlines()[-1]) * unit, seconds


if __name__ == "__main__":
    main()
