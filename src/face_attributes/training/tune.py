"""Tune: a search for hyperparameters with Hyperopt (TPE), each trial a short training on some images.

The first trial is `train` of params.yaml as written, so the search can only improve on it. Each trial is
saved as it ends: a search that was killed goes on with the next one, and ends as if it had never stopped.
"""

import json
import logging
import math
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hyperopt import JOB_STATE_DONE, STATUS_FAIL, STATUS_OK, Trials, fmin, hp, space_eval, tpe
from hyperopt.exceptions import AllTrialsFailed

from face_attributes.common import checkpoints
from face_attributes.common.errors import SearchError
from face_attributes.common.files import write_json, write_text
from face_attributes.common.paths import BEST, PREPARED, TRIALS
from face_attributes.data import arrays
from face_attributes.params import SEARCHED, SpaceParams, TrainParams, TuneParams
from face_attributes.training import hyperparameters as training_hyperparameters
from face_attributes.training.device import Runtime, choose
from face_attributes.training.loop import Epoch, fit

log = logging.getLogger(__name__)

_VALIDATION_IMAGES = 4000
# Random trials before the estimator has something to go by
_STARTUP = 5
# A trial is stopped early only after a few others, which show the usual values
_OTHERS = 3


@dataclass(frozen=True)
class Trial:
    """One finished trial: its point in Hyperopt's terms, and its accuracy after each epoch."""

    number: int
    point: dict[str, float]
    hyperparameters: dict[str, float]
    accuracies: list[float]
    stopped: bool
    seconds: float
    error: str | None = None

    @property
    def accuracy(self) -> float | None:
        return None if self.error else self.accuracies[-1]


def tune(
    params: TuneParams,
    train: TrainParams,
    folder: Path = PREPARED,
    out: Path = BEST,
    table: Path = TRIALS,
) -> None:
    """Run the search; write the best hyperparameters to `out` and a line for each trial to `table`.

    Raises:
        SearchError: every trial failed.

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
    trials = _load(state)
    if trials:
        log.info(f"tune: going on after trial {len(trials)}")
    while len(trials) < params.trials:
        seconds = sum(trial.seconds for trial in trials)
        if trials and params.minutes is not None and seconds >= params.minutes * 60:
            log.info(f"tune: {params.minutes:g} minutes are over after trial {len(trials)}")
            break
        trials.append(_next_trial(trials, params, train, data, runtime))
        _save(state, trials)
        _report(trials[-1], params.trials)
    winner = _best(trials)
    write_text(table, _table(trials))
    training_hyperparameters.write(
        out,
        winner.hyperparameters,
        trial=winner.number + 1,
        trials=len(trials),
        validation_accuracy=round(winner.accuracies[-1], 5),
    )
    state.unlink(missing_ok=True)


def _next_trial(
    trials: list[Trial], params: TuneParams, train: TrainParams, data: arrays.Prepared, runtime: Runtime
) -> Trial:
    if not trials:
        return _run(_start(params.space, train), trials, params, train, data, runtime)
    finished: list[Trial] = []
    known = _to_hyperopt(trials)

    def objective(_: dict[str, float]) -> dict[str, Any]:
        values = known.trials[-1]["misc"]["vals"]
        point = {name: float(values[name][0]) for name in SEARCHED}
        finished.append(_run(point, trials, params, train, data, runtime))
        return _result(finished[-1])

    # Having run the trial, Hyperopt looks for the best one, and complains if there is none yet
    with suppress(AllTrialsFailed):
        fmin(
            objective,
            _space(params.space),
            algo=partial(tpe.suggest, n_startup_jobs=_STARTUP),
            max_evals=len(trials) + 1,
            trials=known,
            rstate=np.random.default_rng([params.seed, len(trials)]),
            allow_trials_fmin=False,
            show_progressbar=False,
            return_argmin=False,
            verbose=False,
        )
    (trial,) = finished
    return trial


def _run(
    point: dict[str, float],
    earlier: list[Trial],
    params: TuneParams,
    train: TrainParams,
    data: arrays.Prepared,
    runtime: Runtime,
) -> Trial:
    number = len(earlier)
    hyperparameters = space_eval(
        _space(params.space), {name: _hyperopt_value(name, point[name]) for name in point}
    )
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


def _space(space: SpaceParams) -> dict[str, Any]:
    def log(name: str) -> Any:
        interval = getattr(space, name)
        return hp.loguniform(name, math.log(interval.low), math.log(interval.high))

    return {
        "learning_rate": log("learning_rate"),
        "weight_decay": log("weight_decay"),
        "dropout": hp.uniform("dropout", space.dropout.low, space.dropout.high),
        "width": hp.choice("width", space.width),
        "augmentation": hp.uniform("augmentation", space.augmentation.low, space.augmentation.high),
    }


def _start(space: SpaceParams, train: TrainParams) -> dict[str, float]:
    """Return `train` as a point of the space; a choice is named by its position there."""
    return {**{name: getattr(train, name) for name in SEARCHED}, "width": space.width.index(train.width)}


def _result(trial: Trial) -> dict[str, Any]:
    if trial.accuracy is None:
        return {"status": STATUS_FAIL}
    return {"status": STATUS_OK, "loss": 1 - trial.accuracy}


def _to_hyperopt(trials: list[Trial]) -> Trials:
    """Rebuild Hyperopt's own record, which it has no safe way to save."""
    known = Trials()
    for trial in trials:
        known.insert_trial_doc(
            {
                "state": JOB_STATE_DONE,
                "tid": trial.number,
                "spec": None,
                "result": _result(trial),
                "misc": {
                    "tid": trial.number,
                    "cmd": ("domain_attachment", "FMinIter_Domain"),
                    "workdir": None,
                    "idxs": {name: [trial.number] for name in trial.point},
                    "vals": {name: [_hyperopt_value(name, value)] for name, value in trial.point.items()},
                },
                "exp_key": None,
                "owner": None,
                "version": 0,
                "book_time": None,
                "refresh_time": None,
            }
        )
    known.refresh()
    return known


def _hyperopt_value(name: str, value: float) -> float | int:
    return int(value) if name == "width" else value


def _best(trials: list[Trial]) -> Trial:
    succeeded = [trial for trial in trials if trial.accuracy is not None and not trial.stopped]
    if not succeeded:
        raise SearchError(f"all {len(trials)} trials failed; the last one: {trials[-1].error}")
    return max(succeeded, key=lambda trial: (trial.accuracies[-1], -trial.number))


def _table(trials: list[Trial]) -> str:
    """Return the trials as CSV, with the best accuracy so far for the plot."""
    lines = [",".join(["trial", "accuracy", "best_so_far", "epochs", "outcome", *SEARCHED])]
    highest = 0.0
    for trial in trials:
        outcome = "failed" if trial.error else "stopped early" if trial.stopped else "finished"
        if trial.accuracy is not None and not trial.stopped:
            highest = max(highest, trial.accuracy)
        accuracy = "" if trial.accuracy is None else f"{trial.accuracy:.5f}"
        values = [f"{trial.hyperparameters[name]:.6g}" for name in SEARCHED]
        row = [
            str(trial.number + 1),
            accuracy,
            f"{highest:.5f}",
            str(len(trial.accuracies)),
            outcome,
            *values,
        ]
        lines.append(",".join(row))
    return "\n".join(lines) + "\n"


def _report(trial: Trial, total: int) -> None:
    values = ", ".join(f"{name} {trial.hyperparameters[name]:.3g}" for name in SEARCHED)
    outcome = trial.error or f"accuracy {trial.accuracies[-1]:.4f}{' (stopped early)' * trial.stopped}"
    log.info(f"tune: trial {trial.number + 1} of {total}: {outcome}; {values}")


def _load(path: Path) -> list[Trial]:
    if not path.exists():
        return []
    return [Trial(**trial) for trial in json.loads(path.read_text(encoding="utf-8"))]


def _save(path: Path, trials: list[Trial]) -> None:
    write_json(path, [trial.__dict__ for trial in trials])
