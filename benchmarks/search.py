"""How much faster trials beside each other are: a search with `tune.parallel` at 1 and at 2, side by side.

    python -m benchmarks.search [--parallel 2] [--rounds 3]

Needs the arrays that `dvc repro` makes. Each trial trains with one thread. The time includes the start of the
processes.
"""

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path

from joblib import cpu_count
from rich.console import Console

from benchmarks import turns
from face_attributes import params
from face_attributes.common.paths import PREPARED
from face_attributes.training.tune import tune

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
TRIALS = 6


def main() -> None:
    """Print the seconds of both searches, and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--prepared", type=Path, default=PREPARED)
    options = parser.parse_args()
    loaded = params.load()
    train = loaded.train.model_copy(update={"threads": 1, "precision": "float32"})
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        # Neither finds the trials of the other
        os.environ["VISAGE_HOME"] = name

        def search(parallel: int) -> None:
            changes = {"trials": TRIALS, "images": options.images, "parallel": parallel}
            found = loaded.tune.model_copy(update=changes)
            tune(found, train, options.prepared, folder / "best.json", folder / "trials.csv")

        beside = options.parallel
        took = turns.seconds({"1": partial(search, 1), "n": partial(search, beside)}, options.rounds)
    Console().print(
        f"{TRIALS} trials of {options.images} images on {cpu_count()} cores, load {os.getloadavg()[0]:.0f}: "
        f"{took['1']:.0f} s one after the other, {took['n']:.0f} s with {beside} beside each other: "
        f"[bold]{took['1'] / took['n']:.2f}[/] times as fast"
    )


if __name__ == "__main__":
    main()
