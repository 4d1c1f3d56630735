"""Contents of `metrics/drifted.json`: a model and the incumbent on the labelled batches that came with it.

A training run writes it (`compare_drifted` of the pipeline), and people read it.
"""

import logging
from typing import Annotated, Literal

from pydantic import Field

from gitops.errors import ParseError
from gitops.git.repository import Repository
from gitops.text import record
from gitops.text.record import Digest, Record, Share

PATH = "metrics/drifted.json"

log = logging.getLogger(__name__)

_Difference = Annotated[float, Field(ge=-1, le=1)]


class AttributeChange(Record):
    """An accuracy, that of the incumbent, and their difference with its 95% interval."""

    accuracy: Share
    incumbent: Share
    difference: _Difference
    low: _Difference
    high: _Difference

    def __str__(self) -> str:
        points = (100 * value for value in (self.difference, self.low, self.high))
        return "{:+.2f} points ({:+.2f} to {:+.2f})".format(*points)


class DriftComparison(Record):
    """Two models on `samples` images of `batches` that neither of them learned from."""

    format: Literal[1, 2, 3, 4]
    model_sha256: Digest
    batches: list[str] = Field(min_length=1)
    samples: int = Field(ge=1)
    mean_accuracy: AttributeChange
    per_attribute: dict[str, AttributeChange]

    def __str__(self) -> str:
        mean = self.mean_accuracy
        return (
            f"On {self.samples} held-out images of {', '.join(self.batches)}: {mean.accuracy:.4f}, "
            f"where the incumbent has {mean.incumbent:.4f}: {mean}."
        )


def of_commit(repository: Repository, commit: str, model_sha256: str | None) -> DriftComparison | None:
    """Return the comparison of the model with this digest, or None if `commit` has none of that model.

    A commit may still have the file of an earlier candidate, which was about another model. A file that
    cannot be read is logged.
    """
    content = repository.read(commit, PATH)
    if content is None or model_sha256 is None:
        return None
    try:
        comparison = record.read(DriftComparison, content)
    except ParseError as error:
        log.warning("%s in %s: %s; it is left out", PATH, commit[:12], error)
        return None
    return comparison if comparison.model_sha256 == model_sha256 else None
