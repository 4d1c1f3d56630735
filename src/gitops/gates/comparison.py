"""A comparison of two models, as `python -m face_attributes compare` of a release writes it."""

from typing import Literal, Protocol, Self

from pydantic import ConfigDict, Field, model_validator

from gitops.errors import ComparisonError, ParseError
from gitops.release.snapshot import Snapshot
from gitops.text import record
from gitops.text.record import Digest, Record

_UPDATE = "update this checkout: git pull"
_TRAIN = "train from main as it is now, .venv/bin/gitops train main --wait, and take that candidate"
# A bound, as the code of a branch writes it.
_MOST_IMAGES = 10_000_000


class _Strict(Record):
    model_config = ConfigDict(extra="forbid")


class Difference(_Strict):
    """How far the accuracy (0 to 1) is from the incumbent's, with its 95% interval from `low` to `high`.

    `p_worse` is how likely chance alone makes a model that is no worse look this much worse.
    """

    accuracy: float = Field(ge=0, le=1)
    incumbent: float = Field(ge=0, le=1)
    difference: float = Field(ge=-1, le=1)
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)
    p_worse: float = Field(ge=0, le=1)


class OneOfMany(Difference):
    """A difference that is tested beside others: `p_worse_holm` is adjusted for their number."""

    p_worse_holm: float = Field(ge=0, le=1)


class Rare(_Strict):
    """How many images have the rarer answer (`count`) or the other one, and which of them models answer so.

    `found` are those of `count` to which the model gives the rarer answer, `false` those of `others`. `lost`
    are the images that the incumbent alone found, `gained` those that the model alone found.
    """

    count: int = Field(ge=0)
    others: int = Field(ge=0)
    found: int = Field(ge=0)
    false: int = Field(ge=0)
    incumbent_found: int = Field(ge=0)
    incumbent_false: int = Field(ge=0)
    lost: int = Field(ge=0)
    gained: int = Field(ge=0)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        within = max(self.found, self.incumbent_found) <= self.count
        if not within or max(self.false, self.incumbent_false) > self.others:
            raise ValueError("more images found than there are")
        if self.found - self.incumbent_found != self.gained - self.lost:
            raise ValueError("found, lost and gained do not add up")
        return self


class AttributeDifference(OneOfMany):
    """The difference in one attribute, and the answers of both models for its rarer value."""

    rare: Rare


class Slice(OneOfMany):
    """The difference on `count` of the images."""

    by: str
    count: int = Field(ge=1)


class Cell(_Strict):
    """The answers of two models for one attribute in one group.

    Of the `positives`, the images with the attribute, the model found `found`; of the `negatives` it answers
    yes to `false`. `lost` are the positives that the incumbent alone found, `gained` those that the model
    alone found; `spoilt` are the negatives that the incumbent alone answers rightly, `mended` those that the
    model alone does.
    """

    positives: int = Field(ge=0)
    negatives: int = Field(ge=0)
    found: int = Field(ge=0)
    false: int = Field(ge=0)
    incumbent_found: int = Field(ge=0)
    incumbent_false: int = Field(ge=0)
    lost: int = Field(ge=0)
    gained: int = Field(ge=0)
    spoilt: int = Field(ge=0)
    mended: int = Field(ge=0)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        within = max(self.found, self.incumbent_found) <= self.positives
        if not within or max(self.false, self.incumbent_false) > self.negatives:
            raise ValueError("more images found than there are")
        if self.found - self.incumbent_found != self.gained - self.lost:
            raise ValueError("found, lost and gained do not add up")
        if self.false - self.incumbent_false != self.spoilt - self.mended:
            raise ValueError("false, spoilt and mended do not add up")
        return self


class Group(_Strict):
    """The answers of two models in one group; `by` is the criterion of the group."""

    by: str
    per_attribute: dict[str, Cell]


class Latency(_Strict):
    """Milliseconds of a call, the median, of both models in turns.

    `ratio_low` to `ratio_high` is the 95% interval of the ratio. Format 2 lacks it.
    """

    p50_ms: float = Field(gt=0)
    incumbent_p50_ms: float = Field(gt=0)
    ratio: float = Field(gt=0)
    ratio_low: float | None = Field(None, gt=0)
    ratio_high: float | None = Field(None, gt=0)

    @property
    def at_least(self) -> float:
        """The lower end of the interval, or the ratio where there is no interval."""
        return self.ratio if self.ratio_low is None else self.ratio_low


class Size(_Strict):
    """Bytes of both files."""

    bytes: int = Field(gt=0)
    incumbent_bytes: int = Field(gt=0)
    ratio: float = Field(gt=0)


class Answers(_Strict):
    """The answers of two models about the same images."""

    model_sha256: Digest
    incumbent_sha256: Digest
    samples: int = Field(ge=1, le=_MOST_IMAGES)
    mean_accuracy: Difference
    per_attribute: dict[str, AttributeDifference] = Field(min_length=1)
    slices: dict[str, Slice]
    only_model: list[str]
    only_incumbent: list[str]
    groups: dict[str, Group] = Field(default_factory=dict)
    """The answers in each group, and about all images. Formats 2 and 3 lack them."""
    contradictions: int | None = Field(None, ge=0)
    """The images about which answers of the model contradict each other. Formats 2 and 3 lack it."""

    @model_validator(mode="after")
    def _about_all_images(self) -> Self:
        for name, row in self.per_attribute.items():
            if row.rare.count + row.rare.others != self.samples:
                raise ValueError(f"{name}: the rarer and the other answers are not of {self.samples} images")
        whole = self.groups.get("all images")
        for name, group in self.groups.items():
            for attribute, cell in group.per_attribute.items():
                every = whole.per_attribute.get(attribute) if whole else None
                if every is None or cell.positives > every.positives or cell.negatives > every.negatives:
                    raise ValueError(f"{name}: {attribute}: not a part of all images")
        return self


class Comparison(Answers):
    """Two models on the same images, on the same machine at the same time."""

    format: Literal[2, 3, 4]
    holdout_sha256: Digest
    resamplings: int = Field(ge=1)
    latency: dict[str, Latency] = Field(min_length=1)
    size: Size
    onnxruntime: str
    cores: int = Field(ge=1)


class Compare(Protocol):
    """Compares the model of a release with that of an incumbent."""

    def __call__(
        self,
        model: Snapshot,
        incumbent: Snapshot,
        /,
        *,
        images: Snapshot | None = None,
        refresh: bool = False,
    ) -> Comparison:
        """Return the comparison on the hold-out set of the release `images`; without it, of `model`.

        With `refresh`, a comparison that is known from before will not do.

        Raises:
            NotComparableError: if nobody could compare them here.
            ComparisonError: if it failed.

        """
        ...


def parse(content: bytes, name: str) -> Comparison:
    """Read a comparison; `name` is how errors call it.

    Raises:
        ComparisonError: for anything that `face_attributes` would not write.

    """
    try:
        return record.read(Comparison, content, earlier=_TRAIN, later=_UPDATE)
    except ParseError as error:
        raise ComparisonError(f"{name}: {error}") from error
