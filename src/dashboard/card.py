"""The model's card: what the release's own commit says of its model."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from dashboard.errors import DashboardError
from gitops.diff import files
from gitops.dvc.lockfile import recorded
from gitops.errors import GitopsError, ModelError
from gitops.git.repository import Repository
from gitops.model import metrics
from gitops.model.metrics import Figures, Interval
from gitops.paths import MODEL
from gitops.text import json_values

log = logging.getLogger(__name__)

_WORST = 5


@dataclass(frozen=True)
class Row:
    """The accuracy in one attribute or slice, what always saying the commoner answer has, and of how many."""

    name: str
    accuracy: Interval
    majority: float | None = None
    count: int | None = None


@dataclass(frozen=True)
class Card:
    """What is known of the model of one release. `figures` is empty where it has none."""

    figures: Figures
    attributes: tuple[Row, ...] = ()
    """Worst first."""
    slices: tuple[Row, ...] = ()
    """The worst, worst first, of those with enough images to say."""
    data: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()


def read(repository: Repository, commit: str) -> Card:
    """Read the card of a release.

    :raises DashboardError: where git cannot be asked.
    """
    try:
        found = metrics.of_commit(repository, commit)
        evaluation, params = repository.read_all(
            [(commit, metrics.FILES["evaluation"]), (commit, "params.yaml")]
        )
        shards = repository.files(commit, "data/labelled")
    except GitopsError as error:
        raise DashboardError(str(error)) from error
    raw = _json(evaluation)
    parameters = files.flat(params or b"")
    return Card(
        figures=found,
        attributes=_rows(found.attributes, json_values.mapping(raw.get("per_attribute"))),
        slices=_rows(_large(found.slices, raw), json_values.mapping(raw.get("slices")))[:_WORST],
        data=tuple(_data(found, parameters, shards, repository, commit)),
        parameters=tuple(parameters.items()),
    )


def _rows(accuracies: dict[str, Interval], raw: dict[str, object]) -> tuple[Row, ...]:
    rows = (
        Row(
            name,
            accuracy,
            json_values.number(json_values.at(raw, (name, "majority_accuracy"))),
            json_values.whole(json_values.at(raw, (name, "count"))),
        )
        for name, accuracy in accuracies.items()
    )
    return tuple(sorted(rows, key=lambda row: row.accuracy.value))


def _large(slices: dict[str, Interval], raw: dict[str, object]) -> dict[str, Interval]:
    least = json_values.number(raw.get("worst_slice_of_at_least")) or 0
    counts = {name: json_values.number(json_values.at(raw, ("slices", name, "count"))) for name in slices}
    return {name: row for name, row in slices.items() if (counts[name] or least) >= least}


def _data(
    found: Figures, parameters: dict[str, str], shards: list[str], repository: Repository, commit: str
) -> Iterator[tuple[str, str]]:
    if source := parameters.get("data.source"):
        yield "source", source
    yield from ((name, f"{count:,}") for name, count in found.counts.items())
    if labelled := [path for path in shards if path.endswith(".dvc")]:
        yield "labelled batches appended", f"{len(labelled):,}"
    try:
        yield "model file (MD5 in dvc.lock)", recorded(repository, commit, MODEL).md5
    except ModelError as error:
        log.info("%s", error)


def _json(content: bytes | None) -> dict[str, object]:
    try:
        return json_values.mapping(json.loads(content or b"{}"))
    except (ValueError, RecursionError):
        return {}  # figures.damaged names the file
