"""Contents of `metrics/data.json`: facts about the data of a training, as the stage prepare records them."""

from typing import Literal

from pydantic import Field

from gitops.text.record import Count, Record, Share


class Yes(Record):
    """The images with an attribute: the number in each part, and the share of all. The ends are of 95%."""

    yes: dict[str, Count] = Field(default_factory=dict)
    share: Share | None = None
    share_low: Share | None = None
    share_high: Share | None = None


class Contradictions(Record):
    """The images whose labels contradict each other."""

    images: Count
    pairs: dict[str, Count] = Field(default_factory=dict)
    share: Share | None = None
    share_low: Share | None = None
    share_high: Share | None = None


class Repeated(Record):
    """The images that are left out, as the data have them already."""

    images: Count
    of: Count
    """The number of images before."""
    cuts: Count = 0
    """How many are another cut of a photograph in another part."""
    other_labels: Count = 0
    parts: dict[str, Count] = Field(default_factory=dict)
    """How many repeat an image of each part."""


class People(Record):
    """The people, where they are known."""

    images: Count
    people: Count
    in_several_parts: Count


class Data(Record):
    """The facts."""

    format: Literal[1] = 1
    source: str
    profile: str
    rows: dict[str, Count]
    """The number of images of each part."""
    batches: dict[str, Count] = Field(default_factory=dict)
    shares: dict[str, Yes] = Field(default_factory=dict)
    contradictions: Contradictions | None = None
    repeated: Repeated | None = None
    people: People | None = None
