"""The figures that a training run leaves: how good, how fast and how large a model is, from how much data.

Read for people to compare, so what is missing stays out. What a release must have shown is `gate`'s matter.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitops.git.repository import Repository
from gitops.text import json_values

FILES = {name: f"metrics/{name}.json" for name in ("evaluation", "performance", "training", "export")}
CURVE = "plots/learning_curve.csv"
_MOST_EPOCHS = 10_000


@dataclass(frozen=True)
class Interval:
    """A figure, and the interval that it lies in with 95% where that is known."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"

    def apart(self, other: "Interval") -> bool:
        """Whether the two intervals have nothing in common, so that chance alone hardly explains it."""
        ends = (self.low, self.high, other.low, other.high)
        if any(end is None for end in ends):
            return False
        return self.high < other.low or other.high < self.low  # type: ignore[operator]


@dataclass(frozen=True)
class Figures:
    """The figures of one model. Empty where there are none."""

    sha256: str | None = None
    profile: str | None = None
    means: dict[str, Interval] = field(default_factory=dict)
    attributes: dict[str, Interval] = field(default_factory=dict)
    slices: dict[str, Interval] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """How many images each part had."""
    speed: dict[str, float] = field(default_factory=dict)
    """Milliseconds for a batch, by what was measured."""
    model_bytes: int | None = None
    variant: str | None = None
    training: dict[str, str] = field(default_factory=dict)
    curve: tuple[tuple[float, float | None, float | None, float | None], ...] = ()
    """Per epoch: its number, training loss, validation loss, validation accuracy."""
    damaged: tuple[str, ...] = ()
    """Files that are there but cannot be read."""

    def __bool__(self) -> bool:
        return bool(self.sha256 or self.means)


def of_commit(repository: Repository, commit: str | None) -> Figures:
    """Return the figures of a commit; those of None are empty."""
    if commit is None:
        return Figures()
    paths = (*FILES.values(), CURVE)
    contents = dict(zip(paths, repository.read_all([(commit, path) for path in paths]), strict=True))
    return _figures(contents.get)


def of_folder(folder: Path) -> Figures:
    """Return the figures of a folder that holds `metrics/` and `plots/`, or the files of both themselves."""

    def read(path: str) -> bytes | None:
        for file in (folder / path, folder / Path(path).name):
            if file.is_file():
                return file.read_bytes()
        return None

    return _figures(read)


def _figures(read: Callable[[str], bytes | None]) -> Figures:
    damaged: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    for name, path in FILES.items():
        content = read(path)
        found[name] = {}
        if content is not None:
            try:
                found[name] = json_values.mapping(json.loads(content))
            except (ValueError, RecursionError):
                damaged.append(path)
    evaluation, performance, training = found["evaluation"], found["performance"], found["training"]
    counts = {
        "hold-out images": evaluation.get("samples"),
        "training images": training.get("train_images"),
        "validation images": training.get("validation_images"),
        "duplicates left out": training.get("duplicates_left_out"),
    }
    means = ("mean_accuracy", "majority_accuracy", "mean_balanced_accuracy", "mean_f1", "mean_roc_auc")
    export = found["export"]
    variant = performance.get("variant") or export.get("variant")
    sizes = json_values.mapping(json_values.mapping(export.get("variants")).get(str(variant)))
    content = read(CURVE)
    curve: tuple[tuple[float, float | None, float | None, float | None], ...] = ()
    if content is not None:
        try:
            curve = tuple(_curve(content))
        except (ValueError, csv.Error):
            damaged.append(CURVE)
    return Figures(
        sha256=json_values.text(evaluation.get("model_sha256")),
        profile=json_values.text(evaluation.get("profile")),
        means={name: interval for name in means if (interval := _interval(evaluation, name))},
        attributes=_accuracies(evaluation.get("per_attribute")),
        slices=_accuracies(evaluation.get("slices")),
        counts={name: int(count) for name, count in counts.items() if json_values.number(count) is not None},
        speed=dict(_speed(performance)),
        model_bytes=json_values.whole(performance.get("model_bytes") or sizes.get("bytes")),
        variant=json_values.text(variant),
        training={
            name: str(value) for name, value in training.items() if isinstance(value, (int, float, str))
        },
        curve=curve,
        damaged=tuple(damaged),
    )


def _speed(performance: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for batch, row in json_values.mapping(performance.get("latency")).items():
        for key, label in (("p50_ms", "median"), ("p95_ms", "95th percentile")):
            if (value := json_values.number(json_values.mapping(row).get(key))) is not None:
                yield f"{str(batch).replace('_', ' ')}, {label}", value


def _accuracies(rows: object) -> dict[str, Interval]:
    found = {
        str(name): _interval(json_values.mapping(row), "accuracy")
        for name, row in json_values.mapping(rows).items()
    }
    return {name: interval for name, interval in found.items() if interval}


def _interval(row: dict[str, Any], name: str) -> Interval | None:
    value = json_values.number(row.get(name))
    if value is None:
        return None
    return Interval(
        value, json_values.number(row.get(f"{name}_low")), json_values.number(row.get(f"{name}_high"))
    )


def _curve(content: bytes) -> Iterator[tuple[float, float | None, float | None, float | None]]:
    for number, row in enumerate(csv.DictReader(io.StringIO(content.decode("utf-8")))):
        if number == _MOST_EPOCHS:
            return
        curve = [_parsed(row.get(name)) for name in ("train_loss", "validation_loss", "validation_accuracy")]
        epoch = _parsed(row.get("epoch"))
        if epoch is not None:
            yield epoch, curve[0], curve[1], curve[2]


def _parsed(text: str | None) -> float | None:
    return json_values.number(float(text)) if text else None
