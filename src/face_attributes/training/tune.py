"""Tune: a search for hyperparameters with Hyperopt (TPE), each trial a short training on some images.

The first trial is `train` of params.yaml as written, so the search can only improve on it. Trials run in
rounds of `tune.parallel`, each in a process of its own. A trial depends on the trials of earlier rounds, and
not on those that run beside it. So the result is the same, whichever of them ends first. Each trial is saved
as it ends: a search that was killed goes on with the next one, and ends as if it had never stopped.
"""

import ctypes
import logging
import multiprocessing
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from face_attributes.common import checkpoints, cost
from face_attributes.common.errors import SearchError
from face_attributes.common.files import write_json, write_text
from face_attributes.common.paths import BEST, PREPARED, SEARCH, TRIALS
from face_attributes.data import arrays
from face_attributes.params import SEARCHED, TrainParams, TuneParams
from face_attributes.training import hyperparameters as training_hyperparameters
from face_attributes.training import proposals, trials
from face_attributes.training.device import Runtime, choose
from face_attributes.training.loop import Epoch, fit
from face_attributes.training.trials import Trial

log = logging.getLogger(__name__)

_VALIDATION_IMAGES = 4000
# A trial is stopped early only after a few others, which show the usual values
_OTHERS = 3
_PR_SET_PDEATHSIG = 1


def tune(
    params: TuneParams,
    train: TrainParams,
    folder: Path = PREPARED,
    out: Path = BEST,
    table: Path = TRIALS,
    metrics: Path = SEARCH,
) -> None:
    """Run the search; write the best hyperparameters, a line for each trial, and the cost of the search.

    Raises:
        SearchError: every trial failed, or a process of the search is lost.

    """
    data = arrays.load(folder)
    runtime = choose(train, data.info.shape, len(data.info.attributes))
    state = checkpoints.path(
        "search",
        ".json",
        data=data.info.digest,
        tune=params.model_dump(exclude={"trials", "minutes"}),
        train=train.model_dump(),
        precision=runtime.precision,
    )
    log.debug("tune: on %s with %s, trials in %s", runtime.device, runtime.precision, state)
    done = trials.load(state)
    if done:
        log.info(f"tune: going on after trial {len(done)}")
    with _workers(params.parallel) as workers:
        for number in range(0, params.trials, params.parallel):
            before = [trial for trial in done if trial.number < number]
            spent = trials.seconds(before, params.parallel)
            if before and params.minutes is not None and spent >= params.minutes * 60:
                log.info(f"tune: {params.minutes:g} minutes are over after trial {len(before)}")
                break
            count = min(params.parallel, params.trials - number)
            points = proposals.propose(before, number, count, params.space, train, params.seed)
            missing = {number + index: point for index, point in enumerate(points)}
            for trial in done:
                missing.pop(trial.number, None)
            for trial in _round(missing, before, params, train, folder, runtime, workers):
                done = sorted([*done, trial], key=lambda other: other.number)
                trials.save(state, done)
                _report(trial, params.trials)
    winner = trials.best(done)
    write_text(table, trials.table(done))
    spent = cost.measured(trials.seconds(done, params.parallel), params.parallel)
    write_json(metrics, {"format": 1, "device": runtime.device.type, "trials": len(done), **spent})
    training_hyperparameters.write(
        out,
        winner.hyperparameters,
        trial=winner.number + 1,
        trials=len(done),
        validation_accuracy=round(winner.accuracies[-1], 5),
    )
    state.unlink(missing_ok=True)


@contextmanager
def _workers(parallel: int) -> Iterator[Executor | None]:
    """Provide processes that train at the same time, or None where one trial runs at a time."""
    if parallel == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(parallel, mp_context=context, initializer=_begin) as pool:
        try:
            yield pool
        except BaseException:
            # The trials that run are lost; nobody waits for them
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin() -> None:
    if sys.platform == "linux":  # A search that is killed leaves no process behind
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    logger = logging.getLogger("face_attributes")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)


def _round(
    points: dict[int, dict[str, float]],
    earlier: Sequence[Trial],
    params: TuneParams,
    train: TrainParams,
    folder: Path,
    runtime: Runtime,
    workers: Executor | None,
) -> Iterator[Trial]:
    """Run the trials of a round, and yield each as it ends."""
    if workers is None:
        for number, point in points.items():
            yield run(number, point, earlier, params, train, folder, runtime)
        return
    running = [
        workers.submit(run, number, point, earlier, params, train, folder, _on_its_own_gpu(runtime, number))
        for number, point in points.items()
    ]
    try:
        for future in as_completed(running):
            yield future.result()
    except BrokenProcessPool:
        raise SearchError(
            "tune: a process of the search was lost; run the stage tune again: it continues after the trials "
            "that ended"
        ) from None


def _on_its_own_gpu(runtime: Runtime, number: int) -> Runtime:
    if runtime.device.type != "cuda":
        return runtime
    return replace(runtime, device=torch.device("cuda", number % torch.cuda.device_count()))


def run(
    number: int,
    point: dict[str, float],
    earlier: Sequence[Trial],
    params: TuneParams,
    train: TrainParams,
    folder: Path,
    runtime: Runtime,
) -> Trial:
    """Run one trial.

    Args:
        number: Its number, from 0.
        point: Its point in Hyperopt's terms.
        earlier: The trials of earlier rounds. One that does worse than half of them stops early.
        params: The parameters of the search.
        train: The other parameters of the training.
        folder: The prepared arrays.
        runtime: Device and precision.

    """
    torch.set_num_threads(train.threads)
    data = arrays.load(folder)
    hyperparameters = proposals.values(point, params.space)
    accuracies: list[float] = []

    def keep_going(epoch: Epoch) -> bool:
        accuracies.append(epoch.validation_accuracy)
        others = [
            trial.accuracies[epoch.epoch - 1] for trial in earlier if len(trial.accuracies) >= epoch.epoch
        ]
        return len(others) < _OTHERS or epoch.validation_accuracy >= statistics.median(others)

    error = None
    started = time.monotonic()
    try:
        fit(
            data.train.first(params.images),
            data.validation.first(_VALIDATION_IMAGES),
            train.model_copy(
                update={**hyperparameters, "seed": params.seed, "epochs": params.epochs, "max_minutes": None}
            ),
            runtime,
            keep_going=keep_going,
            description=f"trial {number + 1}",
        )
    except SearchError as failure:
        error = str(failure)
    stopped = error is None and len(accuracies) < params.epochs
    seconds = round(time.monotonic() - started, 1)
    return Trial(number, point, hyperparameters, accuracies, stopped, seconds, error)


def _report(trial: Trial, total: int) -> None:
    values = ", ".join(f"{name} {trial.hyperparameters[name]:.3g}" for name in SEARCHED)
    outcome = trial.error or f"accuracy {trial.accuracies[-1]:.4f}{' (stopped early)' * trial.stopped}"
    log.info(f"tune: trial {trial.number + 1} of {total}: {outcome}; {values}")
