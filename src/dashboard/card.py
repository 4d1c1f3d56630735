"""The model's card: what the release's own commit says of its model."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dashboard.errors import DashboardError
from gitops.diff import files
from gitops.dvc.lockfile import recorded
from gitops.errors import GitopsError, ModelError
from gitops.git.repository import Repository
from gitops.model import metrics
from gitops.model.evaluation import Accuracy
from gitops.model.metrics import Figures, Interval
from gitops.paths import MODEL, PARAMETERS

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
        parameters = files.flat(repository.read(commit, PARAMETERS) or b"")
        shards = repository.files(commit, "data/labelled")
    except GitopsError as error:
        raise DashboardError(str(error)) from error
    evaluation = found.evaluation
    least = evaluation.worst_slice_of_at_least if evaluation else 0
    slices = evaluation.slices if evaluation else {}
    large = {name: row for name, row in slices.items() if row.count is None or row.count >= least}
    return Card(
        figures=found,
        attributes=_worst_first(evaluation.per_attribute if evaluation else {}),
        slices=_worst_first(large)[:_WORST],
        data=tuple(_data(found, parameters, shards, repository, commit)),
        parameters=tuple(parameters.items()),
    )


def _worst_first(rows: Mapping[str, Accuracy]) -> tuple[Row, ...]:
    found = (
        Row(name, accuracy, rows[name].majority_accuracy, rows[name].count)
        for name, accuracy in metrics.intervals(rows).items()
    )
    return tuple(sorted(found, key=lambda row: row.accuracy.value))


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
