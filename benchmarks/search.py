"""The search: its gain over more training, and the speed of trials beside each other.

    python -m benchmarks.search [--seeds 3]
    python -m benchmarks.search --parallel 2 [--rounds 3]

The first command searches and trains, then trains without a search for as many minutes, and compares both on
the validation images. The second runs a search with `tune.parallel` at 1 and at 2, in turns; each trial has
one thread, and the time includes the start of the processes. Both need the arrays that `dvc repro` makes.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from joblib import cpu_count
from rich.console import Console

from benchmarks import turns
from face_attributes import params
from face_attributes.common.paths import PREPARED
from face_attributes.data import arrays
from face_attributes.params import Params, TrainParams
from face_attributes.training import hyperparameters, loop
from face_attributes.training.device import choose
from face_attributes.training.tune import tune

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
TRIALS = 6
_NO_LIMIT = 10_000  # epochs: the minutes end the training
_FILES = ("best.json", "trials.csv", "search.json", "elsewhere")


def main() -> None:
    """Print the gain of the search, or the ratio of both speeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="searches to run (default: 3)")
    parser.add_argument("--parallel", type=int, help="trials beside each other")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000, help="of a trial, with --parallel")
    parser.add_argument("--prepared", type=Path, default=PREPARED)
    options = parser.parse_args()
    loaded, load = params.load(), f"{cpu_count()} cores, load {os.getloadavg()[0]:.0f}"
    if options.parallel:
        one, many = speed(loaded, options.prepared, options.parallel, options.rounds, options.images)
        Console().print(
            f"{TRIALS} trials of {options.images} images on {load}: {one:.0f} s one after the other, "
            f"{many:.0f} s with {options.parallel} beside each other: [bold]{one / many:.2f}[/] times as fast"
        )
        return
    for seed in range(options.seeds):
        found, without, minutes = against_training(loaded, options.prepared, seed)
        gain = 100 * (found - without)
        Console().print(
            f"seed {seed}, {load}: {found.mean():.2%} with the search, {without.mean():.2%} with "
            f"{minutes:.1f} minutes of training alone: [bold]{gain.mean():+.2f}[/] "
            f"± {1.96 * gain.std() / np.sqrt(len(gain)):.2f} points"
        )


def against_training(loaded: Params, prepared: Path, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the accuracy on each validation image with a search, and without; and the minutes of both."""
    data = arrays.load(prepared)
    options = loaded.train.model_copy(update={"seed": seed, "max_minutes": None})
    runtime = choose(options, data.info.shape, len(data.info.attributes))

    def right(chosen: TrainParams) -> np.ndarray:
        network = loop.fit(data.train, data.validation, chosen, runtime).network
        answers = loop.predict(network, data.validation.images, runtime) > 0
        return (answers == data.validation.labels).mean(axis=1)

    started = time.monotonic()
    with _folder() as folder:
        search = loaded.tune.model_copy(update={"seed": seed})
        tune(search, options, prepared, *(folder / name for name in _FILES))
        winner = hyperparameters.read(folder / "best.json")
    found = right(options.model_copy(update=winner))
    minutes = (time.monotonic() - started) / 60
    return found, right(options.model_copy(update={"epochs": _NO_LIMIT, "max_minutes": minutes})), minutes


def speed(loaded: Params, prepared: Path, parallel: int, rounds: int, images: int) -> tuple[float, float]:
    """Return the seconds of a search with trials one after the other, and with `parallel` at a time."""
    train = loaded.train.model_copy(update={"threads": 1, "precision": "float32"})
    with _folder() as folder:

        def search(beside: int) -> None:
            changes = {"trials": TRIALS, "images": images, "parallel": beside}
            found = loaded.tune.model_copy(update=changes)
            tune(found, train, prepared, *(folder / name for name in _FILES))

        took = turns.seconds({"1": partial(search, 1), "n": partial(search, parallel)}, rounds)
    return took["1"], took["n"]


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        # No search finds the trials of an earlier one
        os.environ["VISAGE_HOME"] = name
        yield Path(name)


if __name__ == "__main__":
    main()
