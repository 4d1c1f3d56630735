"""Runs: every training and every experiment, with its parameters, its metrics and the time that it took."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gitops.errors import GitopsError
from gitops.model.cost import Cost
from gitops.model.metrics import Interval, Metrics

Kind = Literal["training", "unfinished", "experiment"]

_COSTS = ("cpu_seconds", "gpu_seconds", "peak_bytes", "read_bytes", "written_bytes")
_STEP = re.compile(r"(?P<stage>[A-Za-z0-9_-]+): run for run/\S+(?: in (?P<seconds>[0-9]+(?:\.[0-9]+)?) s)?")
_CONDITION = re.compile(r"(?P<key>[^<>=!]+?)\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>.*)")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
    "=": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
}


@dataclass(frozen=True)
class Run:
    """A training run that archived its results, one that has not, or an experiment of DVC.

    Attributes:
        name: The run, as in its tag or branch; of an experiment, its name.
        kind: `training` with a tag `archive/`, `unfinished` with a branch `run/` alone, or `experiment`.
        commit: The commit of its results.
        at: The time of that commit.
        author: Its author.
        parameters: The values of `params.yaml`, by dotted names.
        metrics: The metrics.
        seconds: The seconds of each stage, where its commit has them.
        cost: The measured cost of each stage; None for experiments, and for runs of earlier versions.

    """

    name: str
    kind: Kind
    commit: str
    at: datetime
    author: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    metrics: Metrics = field(default_factory=Metrics)
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    cost: Cost | None = None

    @property
    def duration(self) -> float | None:
        """The seconds of all stages; None where no commit has them."""
        return sum(self.seconds.values()) if self.seconds else None

    @property
    def values(self) -> dict[str, str | float]:
        """Everything that runs are sorted and chosen by, by name. A parameter has its dotted name."""
        numbers: dict[str, float | None] = {
            "duration": self.duration,
            "size": self.metrics.model_bytes,
            **{name: interval.value for name, interval in self.metrics.means.items()},
            **self.metrics.speed,
            **{name: getattr(self.cost.total, name) for name in _COSTS if self.cost},
        }
        words = {"name": self.name, "kind": self.kind, "commit": self.commit, "at": self.at.isoformat()}
        return {
            **self.parameters,
            **{name: value for name, value in numbers.items() if value is not None},
            **words,
        }

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "commit": self.commit,
            "at": self.at.isoformat(),
            "author": self.author,
            "duration_seconds": self.duration,
            "seconds": dict(self.seconds),
            "cost": self.cost.model_dump()["stages"] if self.cost else None,
            "model_sha256": self.metrics.sha256,
            "model_bytes": self.metrics.model_bytes,
            "metrics": {name: _interval(value) for name, value in self.metrics.means.items()},
            "attributes": {name: _interval(value) for name, value in self.metrics.attributes.items()},
            "milliseconds": dict(self.metrics.speed),
            "images": dict(self.metrics.counts),
            "parameters": dict(self.parameters),
        }


def step(subject: str) -> tuple[str, float | None] | None:
    """Return the stage and the seconds that the subject of a step's commit names; None for another commit."""
    match = _STEP.fullmatch(subject)
    if match is None:
        return None
    return match["stage"], float(match["seconds"]) if match["seconds"] else None


def ordered(runs: Sequence[Run], key: str = "at") -> list[Run]:
    """Return runs by a value, the largest or latest first; those without it come last.

    Raises:
        GitopsError: where no run has such a value.

    """
    _known(runs, key)
    numbers = [run for run in runs if isinstance(_number(run.values.get(key)), float)]
    words = [run for run in runs if run not in numbers and key in run.values]
    return [
        *sorted(numbers, key=lambda run: _number(run.values[key]) or 0.0, reverse=True),
        *sorted(words, key=lambda run: str(run.values[key]), reverse=True),
        *(run for run in runs if key not in run.values),
    ]


def chosen(runs: Sequence[Run], conditions: Sequence[str]) -> list[Run]:
    """Return the runs that meet all conditions, such as `mean_accuracy>=0.9` or `train.epochs=12`.

    Raises:
        GitopsError: for a condition that cannot be read, or a name that no run has.

    """
    kept = list(runs)
    for condition in conditions:
        match = _CONDITION.fullmatch(condition.strip())
        if match is None:
            raise GitopsError(f"{condition!r}: not a condition; write one like mean_accuracy>=0.9")
        _known(runs, match["key"])
        kept = [run for run in kept if _meets(run, match["key"], match["sign"], match["value"].strip())]
    return kept


def named(runs: Sequence[Run], name: str) -> Run:
    """Return the run of a name, or of the beginning of its commit's id.

    Raises:
        GitopsError: if there is no such run, or several.

    """
    exact = [run for run in runs if run.name == name]
    found = exact or [run for run in runs if len(name) >= 4 and run.commit.startswith(name)]
    if len(found) != 1:
        there = ", ".join(run.name for run in runs[:5]) or "no runs"
        raise GitopsError(f"{name}: {len(found) or 'no'} such runs; there are {there}: see gitops runs")
    return found[0]


def _known(runs: Sequence[Run], key: str) -> None:
    names = sorted({name for run in runs for name in run.values})
    if runs and key not in names:
        near = [name for name in names if key in name] or difflib.get_close_matches(key, names, cutoff=0.4)
        shown = ", ".join(near[:5] or ("mean_accuracy", "duration", "size", "at"))
        raise GitopsError(
            f"{key}: no run has such a value; there are for example {shown}",
            command=".venv/bin/gitops runs --json",
        )


def _meets(run: Run, key: str, sign: str, value: str) -> bool:
    if key not in run.values:
        return False
    present, wanted = _number(run.values[key]), _number(value)
    if present is not None and wanted is not None:
        return _COMPARE[sign](present, wanted)
    equal = str(run.values[key]) == value
    return {"=": equal, "!=": not equal}.get(sign, False)


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (str, float, int)) else None
    except ValueError:
        return None


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
