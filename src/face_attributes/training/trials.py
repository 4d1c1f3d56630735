"""The trials of a search: their record, the file that a killed search continues from, and the table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from face_attributes.common.errors import SearchError
from face_attributes.common.files import write_json
from face_attributes.params import SEARCHED


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
    """Return the trial with the highest accuracy.

    Raises:
        SearchError: every trial failed.

    """
    succeeded = [trial for trial in trials if trial.accuracy is not None and not trial.stopped]
    if not succeeded:
        raise SearchError(f"all {len(trials)} trials failed; the last one: {trials[-1].error}")
    return max(succeeded, key=lambda trial: (trial.accuracies[-1], -trial.number))


def seconds(trials: Sequence[Trial], parallel: int) -> float:
    """Return the time that the trials took: of each round, its longest trial."""
    rounds: dict[int, float] = {}
    for trial in trials:
        number = trial.number // parallel
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
