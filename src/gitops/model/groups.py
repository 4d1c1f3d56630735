"""Contents of `metrics/groups.json`: how often a model is right about each group of people."""

from typing import Literal

from pydantic import Field

from gitops.text.record import Count, Record, Share


class Rates(Record):
    """The answers for one attribute in one group. `_low` and `_high` limit 95% intervals."""

    positives: Count
    negatives: Count
    tpr: Share | None = None
    """The share of the images with the attribute that the model finds."""
    tpr_low: Share | None = None
    tpr_high: Share | None = None
    fpr: Share | None = None
    """The share of the other images for which it answers yes."""
    fpr_low: Share | None = None
    fpr_high: Share | None = None
    precision: Share | None = None
    precision_low: Share | None = None
    precision_high: Share | None = None
    calibration_error: Share | None = None


class Gap(Record):
    """How far the true positive rate of a group is below that of everybody else."""

    attribute: str
    group: str
    tpr: Share
    others: Share
    gap: float = Field(ge=-1, le=1)
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)


class GroupOfImages(Record):
    """The images of one group, and its criterion."""

    by: str
    count: Count


class Contradictions(Record):
    """The share of the images about which answers contradict each other, and that of the labels."""

    rate: Share
    rate_low: Share
    rate_high: Share
    labels: Share
    pairs: dict[str, Count] = Field(default_factory=dict)


class Groups(Record):
    """The evaluation of a model in each group."""

    format: Literal[1] = 1
    samples: Count
    minimum: Count
    """The number of images with the attribute, in a group and outside of it, from which on a gap counts."""
    groups: dict[str, GroupOfImages]
    per_attribute: dict[str, dict[str, Rates]]
    gaps: tuple[Gap, ...]
    """The largest first."""
    contradictions: Contradictions | None = None

    @property
    def served_worst(self) -> tuple[Gap, ...]:
        """The group that each attribute serves worst, the largest gap first.

        Gaps that chance may explain are left out.
        """
        worst: dict[str, Gap] = {}
        for gap in sorted(self.gaps, key=lambda row: -row.gap):
            if gap.low > 0:
                worst.setdefault(gap.attribute, gap)
        return tuple(worst.values())
