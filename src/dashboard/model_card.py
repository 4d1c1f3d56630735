"""The model card: metrics, data and parameters of a release's model, read from its commit."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dashboard.errors import DashboardError
from gitops.diff import files
from gitops.errors import GitopsError, ModelError
from gitops.git.repository import Repository
from gitops.model import metrics
from gitops.model.evaluation import Accuracy
from gitops.model.groups import Gap
from gitops.model.metrics import Interval, Metrics
from gitops.paths import MODEL, PARAMETERS
from gitops.release.snapshot import Snapshot

log = logging.getLogger(__name__)

_WORST = 5
_MOST_GAPS = 15
_LARGEST_PICTURE = 2_000_000
_JPEG = b"\xff\xd8\xff"
PICTURE = "plots/served_worst.jpg"
"""Drawn faces; photographs are in no file of git."""


@dataclass(frozen=True)
class Row:
    """The accuracy for an attribute or slice, the majority-class baseline, and the number of images."""

    name: str
    accuracy: Interval
    majority: float | None = None
    count: int | None = None


@dataclass(frozen=True)
class ModelCard:
    """The model of a release. `figures` is empty if the release has no model."""

    figures: Metrics
    attributes: tuple[Row, ...] = ()
    """Sorted by accuracy, worst first."""
    slices: tuple[Row, ...] = ()
    """The worst slices with enough images, worst first."""
    served_worst: tuple[Gap, ...] = ()
    """The largest gaps between the true positive rate of a group and that of everybody else."""
    has_picture: bool = False
    """Whether there is a picture of these groups."""
    data: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()


def read(repository: Repository, commit: str) -> ModelCard:
    """Read the model card of a release.

    Raises:
        DashboardError: The git repository cannot be read.

    """
    try:
        release = Snapshot.load(repository, commit)
        figures = release.metrics
        parameters = files.flat(release.contents[PARAMETERS] or b"")
        shards = repository.files(commit, "data/labelled")
        pictures = repository.files(commit, PICTURE)
    except GitopsError as error:
        raise DashboardError(str(error)) from error
    evaluation = figures.evaluation
    least = evaluation.worst_slice_of_at_least if evaluation else 0
    slices = evaluation.slices if evaluation else {}
    large = {name: row for name, row in slices.items() if row.count is None or row.count >= least}
    return ModelCard(
        figures=figures,
        attributes=_worst_first(evaluation.per_attribute if evaluation else {}),
        slices=_worst_first(large)[:_WORST],
        served_worst=figures.groups.served_worst[:_MOST_GAPS] if figures.groups else (),
        has_picture=PICTURE in pictures,
        data=tuple(_data(release, parameters, shards)),
        parameters=tuple(parameters.items()),
    )


def picture(repository: Repository, commit: str) -> bytes | None:
    """Return the JPEG of the groups that a release serves worst, or None if it has none.

    Raises:
        DashboardError: The git repository cannot be read.

    """
    try:
        content = repository.read_all([(commit, PICTURE)], _LARGEST_PICTURE)[0]
    except GitopsError as error:
        raise DashboardError(str(error)) from error
    return content if content is not None and content.startswith(_JPEG) else None


def _worst_first(rows: Mapping[str, Accuracy]) -> tuple[Row, ...]:
    with_intervals = (
        Row(name, accuracy, rows[name].majority_accuracy, rows[name].count)
        for name, accuracy in metrics.intervals(rows).items()
    )
    return tuple(sorted(with_intervals, key=lambda row: row.accuracy.value))


def _data(release: Snapshot, parameters: dict[str, str], shards: list[str]) -> Iterator[tuple[str, str]]:
    if source := parameters.get("data.source"):
        yield "source", source
    yield from ((name, f"{count:,}") for name, count in release.metrics.counts.items())
    if labelled := [path for path in shards if path.endswith(".dvc")]:
        yield "labelled batches appended", f"{len(labelled):,}"
    try:
        yield "model file (MD5 in dvc.lock)", release.lock.recorded(MODEL).md5
    except ModelError as error:
        log.info("%s", error)
