"""The trials of a search: their record, the file that a killed search continues from, and the choice.

The best of many short trainings looks better than it is. So the best one and the first, which is `train` of
params.yaml, run again with another seed. The first is kept unless the other gains more than two standard
errors with that seed, which had no part in choosing it. The differences are taken image by image.
"""

import base64
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from face_attributes.common.errors import SearchError
from face_attributes.common.files import write_json
from face_attributes.params import SEARCHED

AGAIN = 1000
"""A trial that runs again with another seed has its own number plus this. No search has more trials."""
_ERRORS = 2.0
"""Standard errors that a trial must gain over the first one."""


@dataclass(frozen=True)
class Trial:
    """One finished trial.

    Attributes:
        number: From 0.
        point: The hyperparameters in Hyperopt's terms.
        hyperparameters: The hyperparameters.
        accuracies: The accuracy after each epoch.
        stopped: Whether it stopped early.
        seconds: The time that it took.
        error: The reason if it failed.
        price: Accuracy that its network must gain over the network of the first trial for its size.
        right: The number of right answers for each validation image, see `packed`. Only with another seed.

    """

    number: int
    point: dict[str, float]
    hyperparameters: dict[str, float]
    accuracies: list[float]
    stopped: bool
    seconds: float
    error: str | None = None
    price: float = 0.0
    right: str = ""

    @property
    def accuracy(self) -> float | None:
        return self.accuracies[-1] if self.accuracies and not self.error else None

    @property
    def score(self) -> float | None:
        """The accuracy without the price, by which the search goes."""
        return None if self.accuracy is None else self.accuracy - self.price

    @property
    def outcome(self) -> str:
        if self.error:
            return "failed"
        if not self.accuracies:
            return "not run"
        if self.stopped:
            return "stopped early"
        return "finished" if self.number < AGAIN else "another seed"


@dataclass(frozen=True)
class Gain:
    """The gain in score of a trial over the first one, and its standard error over the images."""

    mean: float
    error: float

    @property
    def clear(self) -> bool:
        """Whether the gain is over two standard errors."""
        return self.mean > _ERRORS * self.error


def load(path: Path) -> list[Trial]:
    """Return the trials of a killed search, by their numbers. Some of the last round may be missing."""
    if not path.exists():
        return []
    return [Trial(**trial) for trial in json.loads(path.read_text(encoding="utf-8"))]


def save(path: Path, trials: Sequence[Trial]) -> None:
    """Write the trials for `load`."""
    write_json(path, [asdict(trial) for trial in trials])


def merge(trials: Sequence[Trial], more: Sequence[Trial]) -> list[Trial]:
    """Return trials by their numbers, each once."""
    found = {trial.number: trial for trial in (*more, *trials)}
    return [found[number] for number in sorted(found)]


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the highest score, the earliest of equal ones.

    Raises:
        SearchError: every trial failed.

    """
    finished = [trial for trial in trials if trial.outcome == "finished"]
    if not finished:
        raise SearchError(f"all {len(trials)} trials failed; the last one: {trials[-1].error}")
    return max(finished, key=lambda trial: (trial.score, -trial.number))


def contest(trials: Sequence[Trial]) -> list[Trial]:
    """Return the first trial and the best one, which run again; none where the choice is clear without."""
    found = best(trials)
    first = trials[0]
    return [] if found is first or first.outcome != "finished" else [first, found]


def choose(trials: Sequence[Trial], attributes: int) -> tuple[Trial, Gain | None]:
    """Return the trial to train with, and its gain over the first one where they ran again.

    Raises:
        SearchError: every trial failed.

    """
    pair = contest(trials)
    if not pair:
        return best(trials), None
    first, found = pair
    again = {trial.number - AGAIN: trial for trial in trials}
    one, other = (again[trial.number] for trial in pair)
    # A seed with which a training fails speaks against its hyperparameters
    if one.error or other.error:
        return (first if other.error else found), None
    gained = gain(one, other, attributes)
    return (found if gained.clear else first), gained


def packed(right: np.ndarray) -> str:
    """Return numbers of right answers, (N,), as a short text."""
    return base64.b64encode(zlib.compress(right.astype("<u2").tobytes())).decode()


def gain(first: Trial, other: Trial, attributes: int) -> Gain:
    """Return the gain of a trial over the first one on the same images."""
    gains = _scores(other, attributes) - _scores(first, attributes)
    error = gains.std(ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    return Gain(float(gains.mean()), float(error))


def _scores(trial: Trial, attributes: int) -> np.ndarray:
    """Return the score of each image, (N,)."""
    right = np.frombuffer(zlib.decompress(base64.b64decode(trial.right)), "<u2")
    return right / attributes - trial.price


def seconds(trials: Sequence[Trial], parallel: int) -> float:
    """Return the time that the trials took: of each round, its longest trial."""
    rounds: dict[int, float] = {}
    for trial in trials:
        # Those with another seed are a round of their own
        number = min(trial.number, AGAIN) // parallel if parallel > 1 else trial.number
        rounds[number] = max(rounds.get(number, 0.0), trial.seconds)
    return sum(rounds.values())


def over(trials: Sequence[Trial], parallel: int, minutes: float | None) -> bool:
    """Return whether the minutes of a search are over after these trials. The first round always runs."""
    return bool(trials) and minutes is not None and seconds(trials, parallel) >= minutes * 60


def table(trials: Sequence[Trial]) -> str:
    """Return the trials as CSV, with the best accuracy so far for the plot."""
    lines = [",".join(["trial", "accuracy", "best_so_far", "epochs", "outcome", *SEARCHED])]
    highest = 0.0
    for trial in trials:
        if trial.outcome == "finished":
            highest = max(highest, trial.accuracies[-1])
        accuracy = "" if trial.accuracy is None else f"{trial.accuracy:.5f}"
        values = [f"{trial.hyperparameters[name]:.6g}" for name in SEARCHED]
        row = [
            str(trial.number % AGAIN + 1),
            accuracy,
            f"{highest:.5f}",
            str(len(trial.accuracies)),
            trial.outcome,
            *values,
        ]
        lines.append(",".join(row))
    return "\n".join(lines) + "\n"
