"""Contents of `metrics/evaluation.json` and `metrics/export.json`: the figures that a model is judged by."""

from typing import Literal, TypeVar

from pydantic import Field

from gitops.errors import GateError, NoModelError, ParseError
from gitops.paths import EVALUATION, EXPORT
from gitops.text import record
from gitops.text.record import Count, Digest, Record, Share

_AGAIN = "train and export again"


class Accuracy(Record):
    """The accuracy for one attribute or in one slice; None if there are too few images."""

    accuracy: Share | None
    accuracy_low: Share | None = None
    accuracy_high: Share | None = None
    majority_accuracy: Share | None = None
    """Of an attribute: the accuracy of the majority-class baseline."""
    balanced_accuracy: Share | None = None
    average_precision: Share | None = None
    recall: Share | None = None
    """Of an attribute: the share of the images with its rarer answer that the model finds."""
    positives: Share | None = None
    """Of an attribute: the share of the images that have it."""
    visible_loss: Share | None = None
    """Of an attribute: the smallest loss that a comparison on these images shows with 80% power."""
    count: Count | None = None
    """Of a slice: its images."""


class Evaluation(Record):
    """The evaluation of a model on its hold-out set. `_low` and `_high` limit 95% intervals."""

    format: Literal[1] = 1
    profile: Literal["full", "small"]
    samples: int = Field(ge=1)
    model_sha256: Digest
    mean_accuracy: Share
    mean_accuracy_low: Share | None = None
    mean_accuracy_high: Share | None = None
    visible_loss: Share | None = None
    """The smallest loss of the mean accuracy that a comparison on these images shows with 80% power."""
    majority_accuracy: Share
    mean_balanced_accuracy: Share | None = None
    mean_f1: Share | None = None
    mean_roc_auc: Share | None = None
    # Earlier releases wrote intervals of these, too.
    mean_balanced_accuracy_low: Share | None = None
    mean_balanced_accuracy_high: Share | None = None
    mean_f1_low: Share | None = None
    mean_f1_high: Share | None = None
    mean_roc_auc_low: Share | None = None
    mean_roc_auc_high: Share | None = None
    worst_slice_of_at_least: Count = 0
    """The number of images from which on a slice counts."""
    slices: dict[str, Accuracy] = Field(default_factory=dict)
    per_attribute: dict[str, Accuracy] = Field(default_factory=dict)


class Variant(Record):
    """One variant of the exported model."""

    bytes: Count


class Variants(Record):
    """The part of `metrics/export.json` that people compare. The first releases had one variant."""

    format: Literal[1] = 1
    variant: str | None = None
    variants: dict[str, Variant] = Field(default_factory=dict)


class Export(Record):
    """The export of a model: how much it differs from the trained model, and the limits.

    The float32 variant must decide as PyTorch does; the variant that ships may lose a little accuracy.
    """

    format: Literal[1] = 1
    max_difference: float = Field(ge=0)
    tolerance: float = Field(gt=0)
    decisions_changed: Count
    variant: Literal["float32", "int8"]
    accuracy_loss: float = Field(ge=-1, le=1)
    max_accuracy_loss: float = Field(ge=0, lt=1)
    model_sha256: Digest


_Figures = TypeVar("_Figures", Evaluation, Export)


def _read(content: bytes | None, commit: str, path: str, kind: type[_Figures]) -> _Figures:
    if content is None:
        raise NoModelError(
            path, f"missing in {commit[:12]}", "only a commit with a trained model can be released"
        )
    try:
        return record.read(kind, content)
    except ParseError as error:
        raise GateError(f"{path} in {commit[:12]}", str(error), _AGAIN) from error


def evaluation(content: bytes | None, commit: str) -> Evaluation:
    """Read the evaluation of a model.

    Args:
        content: The file; None where the commit has none.
        commit: The commit, for the line of an error.

    Raises:
        GateError: if there is none, or not a valid one.

    """
    return _read(content, commit, EVALUATION, Evaluation)


def export(content: bytes | None, commit: str) -> Export:
    """Read how much an ONNX model differs from the trained model; else as `evaluation`."""
    return _read(content, commit, EXPORT, Export)
