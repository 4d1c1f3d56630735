"""What a model is worth on the labelled batches that came with it, held against the model that ran there.

A training run writes it (`compare_drifted` of the pipeline) for people to read, so what is missing stays out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gitops.git.repository import Repository
from gitops.text import json_values

PATH = "metrics/drifted.json"


@dataclass(frozen=True)
class Change:
    """An accuracy (0 to 1), that of the incumbent, and their difference with its 95% interval."""

    accuracy: float
    incumbent: float
    difference: float
    low: float
    high: float

    def __str__(self) -> str:
        points = (100 * value for value in (self.difference, self.low, self.high))
        return "{:+.2f} points ({:+.2f} to {:+.2f})".format(*points)


@dataclass(frozen=True)
class Drifted:
    """Two models on `samples` images of `batches` that neither of them learned from."""

    batches: tuple[str, ...]
    samples: int
    mean: Change
    attributes: Mapping[str, Change]

    def __str__(self) -> str:
        return (
            f"On {self.samples} held-out images of {', '.join(self.batches)}: {self.mean.accuracy:.4f}, "
            f"where the incumbent has {self.mean.incumbent:.4f}: {self.mean}."
        )


def of_commit(repository: Repository, commit: str, model_sha256: str | None) -> Drifted | None:
    """Return what `commit` says of the model with this digest; None where it says nothing of that one.

    A commit may still have the file of an earlier candidate, which was about another model.
    """
    content = repository.read(commit, PATH)
    if content is None or model_sha256 is None:
        return None
    try:
        figures = json_values.mapping(json.loads(content))
    except (ValueError, RecursionError):
        return None
    mean = _change(figures.get("mean_accuracy"))
    batches, samples = json_values.texts(figures.get("batches")), json_values.whole(figures.get("samples"))
    if figures.get("model_sha256") != model_sha256 or mean is None or not batches or samples is None:
        return None
    rows = json_values.mapping(figures.get("per_attribute"))
    attributes = {name: change for name, row in rows.items() if (change := _change(row))}
    return Drifted(batches, samples, mean, attributes)


def _change(row: object) -> Change | None:
    keys = ("accuracy", "incumbent", "difference", "low", "high")
    found = [json_values.number(json_values.mapping(row).get(key)) for key in keys]
    numbers = [number for number in found if number is not None]
    return Change(*numbers) if len(numbers) == len(keys) else None
