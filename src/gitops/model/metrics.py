"""The metrics that a training run leaves: accuracy, speed and size of a model, and the amount of its data.

They are read for people to compare, so a file that cannot be read is named, and the others are shown. The
gates read the evaluation by themselves.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from gitops.errors import ParseError
from gitops.model.card import Card
from gitops.model.data import Data
from gitops.model.evaluation import Accuracy, Evaluation, Variants
from gitops.model.groups import Groups
from gitops.paths import CARD, DATA, EVALUATION, EXPORT, GROUPS, PERFORMANCE
from gitops.text import json_values, record
from gitops.text import parse as parser
from gitops.text.record import Count, Number, Record

TRAINING = "metrics/training.json"
CURVE = "plots/learning_curve.csv"
MEANS = ("mean_accuracy", "majority_accuracy", "mean_balanced_accuracy", "mean_f1", "mean_roc_auc")
PATHS = (EVALUATION, PERFORMANCE, TRAINING, EXPORT, GROUPS, CARD, DATA, CURVE)
_MOST_EPOCHS = 10_000
_LARGEST = 4 * 1024**2
"""The bytes of the largest file of a folder that is read."""


class Training(Record):
    """Contents of `metrics/training.json`: the data of a training, and its speed."""

    format: Literal[1] = 1
    train_images: Count | None = None
    validation_images: Count | None = None
    duplicates_left_out: Count | None = None
    epochs: Count | None = None
    images_per_second: Number | None = None
    device: str | None = None
    precision: str | None = None


class Latency(Record):
    """Milliseconds that a batch takes."""

    p50_ms: Number
    p95_ms: Number


class Performance(Record):
    """Contents of `metrics/performance.json`: size and speed of the model that ships."""

    format: Literal[1] = 1
    variant: str | None = None
    model_bytes: Count | None = None
    latency: dict[str, Latency] = Field(default_factory=dict)


@dataclass(frozen=True)
class Interval:
    """A metric, and its 95% interval where that is known."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"

    def apart(self, other: "Interval") -> bool:
        """Return whether the two intervals have nothing in common, so that chance hardly explains it."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        return self.high < other.low or other.high < self.low


@dataclass(frozen=True)
class Metrics:
    """The metrics of one model. Empty where there are none."""

    sha256: str | None = None
    profile: str | None = None
    means: dict[str, Interval] = field(default_factory=dict)
    attributes: dict[str, Interval] = field(default_factory=dict)
    slices: dict[str, Interval] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """The number of images of each part."""
    speed: dict[str, float] = field(default_factory=dict)
    """Milliseconds for a batch, by the name of the measurement."""
    model_bytes: int | None = None
    variant: str | None = None
    training: Training = field(default_factory=Training)
    curve: tuple[tuple[float, float | None, float | None, float | None], ...] = ()
    """Per epoch: its number, training loss, validation loss, validation accuracy."""
    evaluation: Evaluation | None = None
    """The file that the first of these are from."""
    groups: Groups | None = None
    """The rates of each group; earlier releases have none."""
    card: Card | None = None
    """The model card; earlier releases have none."""
    data: Data | None = None
    """The facts about its data; earlier releases have none."""
    damaged: dict[str, str] = field(default_factory=dict)
    """The problem with each file that is there and cannot be read."""

    def __bool__(self) -> bool:
        return self.evaluation is not None or bool(self.means)


def of_folder(folder: Path) -> Metrics:
    """Return the metrics of a folder that holds `metrics/` and `plots/`, or the files of both themselves.

    They may be anybody's. Links are not followed: they could lead to a file of the process that reads them.
    """

    def read(path: str) -> bytes | None:
        for file in (folder / path, folder / Path(path).name):
            if not file.parent.resolve().is_relative_to(folder.resolve()):
                raise ParseError("leads out of its folder")
            try:
                return parser.file(file, _LARGEST)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise ParseError(str(error.strerror)) from error
        return None

    return parse(read)


_Kind = TypeVar("_Kind", bound=Record)


def parse(read: Callable[[str], bytes | None]) -> Metrics:
    """Return the metrics in some files; `read` returns the content of one of PATHS, or None without it."""
    damaged: dict[str, str] = {}

    def file(path: str, kind: type[_Kind]) -> _Kind | None:
        try:
            content = read(path)
            return None if content is None else record.read(kind, content)
        except ParseError as error:
            damaged[path] = str(error)
            return None

    evaluation = file(EVALUATION, Evaluation)
    performance = file(PERFORMANCE, Performance) or Performance()
    training = file(TRAINING, Training) or Training()
    export = file(EXPORT, Variants) or Variants()
    counts = {
        "hold-out images": evaluation and evaluation.samples,
        "training images": training.train_images,
        "validation images": training.validation_images,
        "duplicates left out": training.duplicates_left_out,
    }
    variant = performance.variant or export.variant
    shipped = export.variants.get(variant or "")
    curve: tuple[tuple[float, float | None, float | None, float | None], ...] = ()
    try:
        curve = tuple(_curve(read(CURVE) or b""))
    except ParseError as error:
        damaged[CURVE] = str(error)
    except (ValueError, csv.Error):
        # Without the reason, which repeats the content
        damaged[CURVE] = "not the numbers of epochs"
    return Metrics(
        sha256=evaluation and evaluation.model_sha256,
        profile=evaluation and evaluation.profile,
        means={name: mean for name in MEANS if (mean := _interval(evaluation, name))},
        attributes=intervals(evaluation.per_attribute) if evaluation else {},
        slices=intervals(evaluation.slices) if evaluation else {},
        counts={name: count for name, count in counts.items() if count is not None},
        speed=dict(_speed(performance)),
        model_bytes=performance.model_bytes or (shipped.bytes if shipped else None),
        variant=variant,
        training=training,
        curve=curve,
        evaluation=evaluation,
        groups=file(GROUPS, Groups),
        card=file(CARD, Card),
        data=file(DATA, Data),
        damaged=damaged,
    )


def _speed(performance: Performance) -> Iterator[tuple[str, float]]:
    for batch, row in performance.latency.items():
        yield f"{batch.replace('_', ' ')}, median", row.p50_ms
        yield f"{batch.replace('_', ' ')}, 95th percentile", row.p95_ms


def intervals(rows: Mapping[str, Accuracy]) -> dict[str, Interval]:
    """Return the accuracies that are known."""
    return {name: interval for name, row in rows.items() if (interval := _interval(row, "accuracy"))}


def _interval(row: Record | None, name: str) -> Interval | None:
    value, low, high = (getattr(row, f"{name}{end}", None) for end in ("", "_low", "_high"))
    return None if value is None else Interval(value, low, high)


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
