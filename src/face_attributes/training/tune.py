"""Tune: a search for hyperparameters with Hyperopt (TPE), each trial a short training on some images.

The first trial is `train` of params.yaml as written, and stays the choice unless another is clearly better
(see `trials`). A search of one trial is that choice, and trains nothing. Trials run in
rounds of `tune.parallel`, each in a process of its own, or before this stage as a command on any machine
(`trial_run.run_alone`). A trial depends on the trials of earlier rounds, and
not on those that run beside it. So the result is the same, whichever of them ends first. Each trial is saved
as it ends: a search that was killed goes on with the next one, and ends as if it had never stopped.
"""

import ctypes
import logging
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from face_attributes.common import cost
from face_attributes.common.errors import SearchError
from face_attributes.common.files import write_json, write_text
from face_attributes.common.paths import BEST, PREPARED, SEARCH, TRIALS
from face_attributes.data import arrays
from face_attributes.params import TrainParams, TuneParams
from face_attributes.training import hyperparameters as training_hyperparameters
from face_attributes.training import proposals, trial_run, trials
from face_attributes.training.device import Runtime, choose
from face_attributes.training.trials import AGAIN, Trial

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


def tune(
    params: TuneParams,
    train: TrainParams,
    folder: Path = PREPARED,
    out: Path = BEST,
    table: Path = TRIALS,
    metrics: Path = SEARCH,
    elsewhere: Path = trial_run.GIVEN,
) -> None:
    """Run the search; write the best hyperparameters, a line for each trial, and the cost of the search.

    `elsewhere` may hold trials of this search that ran as commands. They are not run again.

    Raises:
        SearchError: every trial failed, or a process of the search is lost.

    """
    data = arrays.load(folder)
    runtime = choose(train, data.info.shape, len(data.info.attributes))
    state = trial_run.state(params, train, data)
    log.debug("tune: on %s with %s, trials in %s", runtime.device, runtime.precision, state)
    given = trial_run.given(elsewhere, state.stem)
    done = trials.merge(trials.load(state), given)
    if done:
        log.info(f"tune: going on with {len(done)} trials that have ended")

    def run(points: dict[int, dict[str, float]], earlier: Sequence[Trial]) -> None:
        nonlocal done
        ended = {trial.number for trial in done}
        missing = {number: point for number, point in points.items() if number not in ended}
        for trial in _round(missing, earlier, params, train, folder, runtime, state.stem, workers):
            done = trials.merge(done, [trial])
            trials.save(state, done)
            trial_run.report(trial, params.trials)

    if params.trials == 1:
        (point,) = proposals.propose([], 0, 1, params.space, train, params.seed)
        winner = Trial(0, point, proposals.values(point, params.space), [], stopped=False, seconds=0.0)
        done, gain = [winner], None
    else:
        with _workers(params.parallel) as workers:
            for number in range(0, params.trials, params.parallel):
                before = [trial for trial in done if trial.number < number]
                if trials.over(before, params.parallel, params.minutes):
                    log.info(f"tune: the minutes are over after trial {len(before)}")
                    break
                count = min(params.parallel, params.trials - number)
                points = proposals.propose(before, number, count, params.space, train, params.seed)
                run({number + index: point for index, point in enumerate(points)}, before)
            run({AGAIN + trial.number: trial.point for trial in trials.contest(done)}, [])
        winner, gain = trials.choose(done, len(data.info.attributes))
    if gain is not None:
        log.info(
            f"tune: with another seed, the best trial gains {gain.mean:+.4f} over the first one, "
            f"with a standard error of {gain.error:.4f}: trial {winner.number + 1} is taken"
        )
    count = sum(trial.number < AGAIN for trial in done)
    write_text(table, trials.table(done))
    # Trials that ran elsewhere had cores of their own
    spent = cost.measured(trials.seconds(done, 1 if given else params.parallel), params.parallel)
    write_json(metrics, {"format": 1, "device": runtime.device.type, "trials": count, **spent})
    training_hyperparameters.write(
        out,
        winner.hyperparameters,
        trial=winner.number + 1,
        trials=count,
        **({} if gain is None else {"gain": round(gain.mean, 5), "gain_error": round(gain.error, 5)}),
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
    search: str,
    workers: Executor | None,
) -> Iterator[Trial]:
    """Run the trials of a round, and yield each as it ends."""
    if workers is None:
        for number, point in points.items():
            yield trial_run.run(number, point, earlier, params, train, folder, runtime, search)
        return
    running = []
    for number, point in points.items():
        own = trial_run.on_its_own_gpu(runtime, number)
        trial = (number, point, earlier, params, train, folder, own, search)
        running.append(workers.submit(trial_run.run, *trial))
    try:
        for future in as_completed(running):
            yield future.result()
    except BrokenProcessPool:
        raise SearchError(
            "tune: a process of the search was lost; run the stage tune again: it continues after the trials "
            "that ended"
        ) from None
