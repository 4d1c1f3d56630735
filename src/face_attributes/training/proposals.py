"""The next points of a search, from Hyperopt's TPE and the trials so far.

Trials that run at the same time do not know each other's results. For each of them, TPE gets a result that is
assumed, the lowest score so far (a constant liar: Ginsbourger, Le Riche and Carraro, "Kriging Is
Well-Suited to Parallelize Optimization", 2010). So the points of a round differ, and lie where earlier trials
did well.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from hyperopt import JOB_STATE_DONE, STATUS_FAIL, STATUS_OK, Trials, fmin, hp, space_eval, tpe
from hyperopt.exceptions import AllTrialsFailed

from face_attributes.params import SEARCHED, Range, SpaceParams, TrainParams
from face_attributes.training.trials import Trial

# Random trials before the estimator has something to go by
_STARTUP = 5


def propose(
    finished: Sequence[Trial], number: int, count: int, space: SpaceParams, train: TrainParams, seed: int
) -> list[dict[str, float]]:
    """Return the points of a round of trials.

    Args:
        finished: The trials of earlier rounds.
        number: The number of the first trial of the round.
        count: The number of trials of the round.
        space: The search space.
        train: The parameters of the training. They are the point of the first trial.
        seed: Of the random numbers. Each trial has its own, so a resumed search has the same.

    """
    scores = [trial.score for trial in finished if trial.score is not None]
    assumed = Trial(number, {}, {}, [min(scores, default=0.0)], stopped=False, seconds=0.0)
    known, points = list(finished), list[dict[str, float]]()
    for index in range(number, number + count):
        point = (
            _suggest(known, space, np.random.default_rng([seed, index])) if index else _start(space, train)
        )
        points.append(point)
        known.append(replace(assumed, number=index, point=point))
    return points


def values(point: dict[str, float], space: SpaceParams) -> dict[str, float]:
    """Return the hyperparameters of a point, each inside the space."""
    found: dict[str, float] = space_eval(
        _space(space), {name: _hyperopt_value(name, point[name]) for name in point}
    )
    for name, value in found.items():
        interval = getattr(space, name)
        # The exponential of the logarithm of a limit may lie just outside of it
        if isinstance(interval, Range):
            found[name] = min(max(value, interval.low), interval.high)
    return found


def _suggest(trials: Sequence[Trial], space: SpaceParams, random: np.random.Generator) -> dict[str, float]:
    known = _to_hyperopt(trials)
    # Having got a result, Hyperopt looks for the best one, and complains if there is none yet
    with suppress(AllTrialsFailed):
        fmin(
            lambda _: {"status": STATUS_FAIL},
            _space(space),
            algo=partial(tpe.suggest, n_startup_jobs=_STARTUP),
            max_evals=len(trials) + 1,
            trials=known,
            rstate=random,
            allow_trials_fmin=False,
            show_progressbar=False,
            return_argmin=False,
            verbose=False,
        )
    found = known.trials[-1]["misc"]["vals"]
    return {name: float(found[name][0]) for name in SEARCHED}


def _space(space: SpaceParams) -> dict[str, Any]:
    def log(name: str) -> Any:
        interval = getattr(space, name)
        low = math.log(interval.low)
        return hp.loguniform(name, low, max(math.log(interval.high), math.nextafter(low, math.inf)))

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


def _to_hyperopt(trials: Sequence[Trial]) -> Trials:
    """Rebuild Hyperopt's own record, which it has no safe way to save."""
    known = Trials()
    for trial in trials:
        score = trial.score
        known.insert_trial_doc(
            {
                "state": JOB_STATE_DONE,
                "tid": trial.number,
                "spec": None,
                "result": (
                    {"status": STATUS_FAIL} if score is None else {"status": STATUS_OK, "loss": 1 - score}
                ),
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
