"""One trial of a search: by the stage tune, or by a command of its own on any machine.

A trial depends on its number and on the trials of earlier rounds. So it is the same wherever it runs, and
beside whichever others.

After 1, 2, 4, 8 ... epochs, a trial goes on only if it is in the better half of the earlier ones: successive
halving that waits for none (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020).
"""

import json
import logging
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from face_attributes.common import checkpoints
from face_attributes.common.errors import SearchError
from face_attributes.common.files import write_json
from face_attributes.common.paths import PREPARED
from face_attributes.data import arrays
from face_attributes.model.network import FaceNet, multiplications
from face_attributes.params import SEARCHED, TrainParams, TuneParams
from face_attributes.training import proposals
from face_attributes.training.device import Runtime, choose
from face_attributes.training.loop import Epoch, fit, predict
from face_attributes.training.trials import AGAIN, Trial, over, packed

log = logging.getLogger(__name__)

# Records of trials for the stage; ignored by git and unknown to DVC
GIVEN = Path("models/checkpoints/trials.json")
_VALIDATION_IMAGES = 4000
# A trial is stopped early only after a few others, which show the usual values
_OTHERS = 3


def state(params: TuneParams, train: TrainParams, data: arrays.Prepared) -> Path:
    """Return the file that a killed search continues from. Its name is that of the search."""
    return checkpoints.path(
        "search",
        ".json",
        data=data.info.digest,
        tune=params.model_dump(exclude={"trials", "minutes"}),
        train=train.model_dump(),
    )


def given(path: Path, search: str) -> list[Trial]:
    """Return the trials of a search in a file that holds records of `run_alone`, by their numbers."""
    if not path.exists():
        return []
    records = [record for record in json.loads(path.read_text(encoding="utf-8")) if record]
    found = [Trial(**record["trial"]) for record in records if record["search"] == search]
    return sorted(found, key=lambda trial: trial.number)


def run_alone(
    number: int, params: TuneParams, train: TrainParams, earlier: Path, out: Path, folder: Path = PREPARED
) -> None:
    """Run one trial of a search whose trials run as commands, and write its record as JSON.

    The record is empty if the trial cannot run: the search has fewer trials, its minutes are over, or a trial
    of an earlier round is missing. The stage tune runs the trials that it lacks.

    Args:
        number: The number of the trial, from 0.
        params: The parameters of the search.
        train: The other parameters of the training.
        earlier: A JSON list of the records of earlier trials.
        out: The file to write.
        folder: The prepared arrays.

    """
    data = arrays.load(folder)
    search = state(params, train, data).stem
    first = number - number % params.parallel
    before = [trial for trial in given(earlier, search) if trial.number < first]
    if number >= params.trials or len(before) < first or over(before, params.parallel, params.minutes):
        log.info(f"trial {number + 1}: nothing to run")
        write_json(out, {})
        return
    point = proposals.propose(before, first, number - first + 1, params.space, train, params.seed)[-1]
    runtime = choose(train, data.info.shape, len(data.info.attributes))
    trial = run(number, point, before, params, train, folder, on_its_own_gpu(runtime, number), search)
    report(trial, params.trials)
    write_json(out, {"search": search, "trial": asdict(trial)})


def run(
    number: int,
    point: dict[str, float],
    earlier: Sequence[Trial],
    params: TuneParams,
    train: TrainParams,
    folder: Path,
    runtime: Runtime,
    search: str,
) -> Trial:
    """Run one trial. A trial that was killed goes on after its last epoch.

    Args:
        number: Its number, from 0. From `trials.AGAIN` on, it has another seed.
        point: Its point in Hyperopt's terms.
        earlier: The trials of earlier rounds.
        params: The parameters of the search.
        train: The other parameters of the training.
        folder: The prepared arrays.
        runtime: Device and precision.
        search: The name of the search.

    """
    torch.set_num_threads(train.threads)
    data = arrays.load(folder)
    hyperparameters = proposals.values(point, params.space)
    checkpoint = checkpoints.path("trial", ".pt", search=search, number=number, precision=runtime.precision)
    price = params.price * _doublings(hyperparameters["width"], train.width, data)
    validation = data.validation.first(_VALIDATION_IMAGES)
    changes = {"seed": params.seed + (number >= AGAIN), "epochs": params.epochs, "max_minutes": None}
    accuracies: list[float] = []

    def keep_going(epoch: Epoch) -> bool:
        accuracies.append(epoch.validation_accuracy)
        done = epoch.epoch
        others = [
            trial.accuracies[done - 1] - trial.price for trial in earlier if len(trial.accuracies) >= done
        ]
        halving = done & (done - 1) == 0 and len(others) >= _OTHERS
        return not halving or accuracies[-1] - price >= statistics.median(others)

    error, right, started = None, "", time.monotonic()
    try:
        fitted = fit(
            data.train.first(params.images),
            validation,
            train.model_copy(update={**hyperparameters, **changes}),
            runtime,
            checkpoint=checkpoint,
            keep_going=keep_going,
            description=f"trial {number % AGAIN + 1}{' with another seed' * (number >= AGAIN)}",
        )
        seconds = fitted.seconds
        if number >= AGAIN:
            right = packed(_right(fitted.network, validation, runtime))
    except SearchError as failure:
        error, seconds = str(failure), time.monotonic() - started
    checkpoint.unlink(missing_ok=True)
    stopped = error is None and len(accuracies) < params.epochs
    return Trial(number, point, hyperparameters, accuracies, stopped, round(seconds, 1), error, price, right)


def _doublings(width: float, first: int, data: arrays.Prepared) -> float:
    """Return how often the multiplications of the first trial's network double at a width."""
    own, least = (
        multiplications(len(data.info.attributes), data.info.shape, int(channels))
        for channels in (width, first)
    )
    return math.log2(own / least)


def _right(network: FaceNet, part: arrays.Part, runtime: Runtime) -> np.ndarray:
    """Return the number of right answers for each image, (N,)."""
    return ((predict(network, part.images, runtime) > 0) == part.labels).sum(axis=1)


def on_its_own_gpu(runtime: Runtime, number: int) -> Runtime:
    """Return the runtime of a trial that runs beside others."""
    if runtime.device.type != "cuda":
        return runtime
    return replace(runtime, device=torch.device("cuda", number % torch.cuda.device_count()))


def report(trial: Trial, total: int) -> None:
    """Print a line about a trial that has ended."""
    values = ", ".join(f"{name} {trial.hyperparameters[name]:.3g}" for name in SEARCHED)
    outcome = trial.error or f"accuracy {trial.accuracies[-1]:.4f}{' (stopped early)' * trial.stopped}"
    which = f"{trial.number % AGAIN + 1} of {total}{' with another seed' * (trial.number >= AGAIN)}"
    log.info(f"tune: trial {which}: {outcome}; {values}")
