"""Facts: the data of a training in numbers, the contents of `metrics/data.json`.

Counts are of the images that stay after the stage prepare has left repetitions out.
"""

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_attributes.common import contradictions
from face_attributes.common.celeba_attributes import PARTITIONS
from face_attributes.common.errors import DataError, first_line
from face_attributes.data.prepare import Choice

_Z = 1.959964
_DIGITS = 4


@dataclass(frozen=True)
class Difference:
    """The largest difference between the shares of an attribute in two parts; `surely` is its lower end."""

    low: float
    lowest: str
    high: float
    highest: str
    surely: float


@dataclass(frozen=True)
class Yes:
    """The number of images with an attribute, by part."""

    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """The number in all parts."""
        return sum(self.parts.values())

    def difference(self, rows: Mapping[str, int]) -> Difference | None:
        """Return the largest difference between two parts, or None if fewer than two have images."""
        shares = {part: count / rows[part] for part, count in self.parts.items() if rows[part]}
        if len(shares) < 2:
            return None
        low, high = min(shares, key=lambda part: shares[part]), max(shares, key=lambda part: shares[part])
        # Newcombe's interval of a difference, from those of both shares
        above = shares[high] - interval(self.parts[high], rows[high])[0]
        below = interval(self.parts[low], rows[low])[1] - shares[low]
        surely = shares[high] - shares[low] - math.hypot(above, below)
        return Difference(shares[low], low, shares[high], high, surely)


@dataclass(frozen=True)
class Contradictions:
    """The number of images whose labels contradict each other, and that of each pair of attributes."""

    images: int
    pairs: Mapping[str, int]


@dataclass(frozen=True)
class Repeated:
    """Images that are left out: how many, of how many, of which part they repeat an image.

    Attributes:
        images: their number.
        of: the number of images before.
        cuts: how many are another cut of a photograph in another part.
        other_labels: how many have other labels than the image that stays.
        parts: how many repeat an image of each part.

    """

    images: int
    of: int
    cuts: int
    other_labels: int
    parts: Mapping[str, int]


@dataclass(frozen=True)
class People:
    """People, where they are known; `example` is an image of one who is in several parts."""

    images: int
    people: int
    in_several_parts: int
    example: str


@dataclass(frozen=True)
class Facts:
    """The facts about the data of a training.

    Attributes:
        source: of the raw data.
        profile: of the run.
        rows: the number of images of each part.
        batches: the number of images of each labelled batch.
        shares: the images with each attribute.
        contradictions: of the labels.
        repeated: images that are left out.
        people: None where nobody is known.

    """

    source: str
    profile: str
    rows: Mapping[str, int]
    batches: Mapping[str, int]
    shares: Mapping[str, Yes]
    contradictions: Contradictions
    repeated: Repeated
    people: People | None

    def to_json(self) -> dict[str, Any]:
        """Return the contents of `metrics/data.json`. The example may name somebody, so it is not there."""
        images = sum(self.rows.values())

        def share(count: int, of: int) -> dict[str, float]:
            low, high = interval(count, of)
            shares = {"share": count / of, "share_low": low, "share_high": high} if of else {}
            return {name: round(value, _DIGITS) for name, value in shares.items()}

        people = self.people and {k: v for k, v in asdict(self.people).items() if k != "example"}
        found = self.contradictions
        return {
            "format": 1,
            "source": self.source,
            "profile": self.profile,
            "rows": dict(self.rows),
            "batches": dict(self.batches),
            "shares": {
                name: {"yes": dict(yes.parts), **share(yes.total, images)}
                for name, yes in self.shares.items()
            },
            "contradictions": {**asdict(found), **share(found.images, images)},
            "repeated": asdict(self.repeated),
            "people": people,
        }


def measure(choice: Choice, people: Path, source: str, profile: str) -> Facts:
    """Return the facts about the rows that the stage prepare chose.

    Args:
        choice: the rows, and which of them stay.
        people: the list of people that the stage collect writes.
        source: of the raw data.
        profile: of the run.

    Raises:
        DataError: the list of people cannot be read.

    """
    stays = choice.stays
    parts = np.array(choice.partitions)
    labels = choice.labels[stays]
    inside = {part: parts[stays] == part for part in PARTITIONS}
    yes = {
        name: Yes({part: int(labels[rows, column].sum()) for part, rows in inside.items()})
        for column, name in enumerate(choice.attributes)
    }
    some, pairs = contradictions.images(choice.attributes, labels)
    staying = [name for name, stay in zip(choice.ids, stays, strict=True) if stay]
    return Facts(
        source=source,
        profile=profile,
        rows={part: int(rows.sum()) for part, rows in inside.items()},
        batches=dict(sorted(Counter(name.partition("/")[0] for name in staying if "/" in name).items())),
        shares=yes,
        contradictions=Contradictions(
            int(some.sum()), {pair: count for pair, count in pairs.items() if count}
        ),
        repeated=Repeated(
            int((~stays).sum()), len(stays), int(choice.cuts.sum()), choice.other_labels, choice.left_out
        ),
        people=_people(people, dict(zip(staying, parts[stays].tolist(), strict=True))),
    )


def interval(count: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share."""
    if not of:
        return 0.0, 1.0
    share, weight = count / of, _Z**2 / of
    middle, width = share + weight / 2, _Z * math.sqrt(share * (1 - share) / of + weight / of / 4)
    return max(0.0, (middle - width) / (1 + weight)), min(1.0, (middle + width) / (1 + weight))


def _people(path: Path, parts: Mapping[str, str]) -> People | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["image_id"], row["person"]) for row in csv.DictReader(file)]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: not the list of people ({first_line(error)}); run the stage collect again"
        ) from None
    known = [(image, person) for image, person in rows if image in parts]
    if not known:
        return None
    found: dict[str, set[str]] = defaultdict(set)
    for image, person in known:
        found[person].add(parts[image])
    several = {person for person, where in found.items() if len(where) > 1}
    example = next((image for image, person in known if person in several), "")
    return People(len(known), len(found), len(several), example)
