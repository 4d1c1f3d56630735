"""Limits: `data/contract.yaml`, the conditions that the data of a training must meet.

People edit the file. Its limits count from the next run of the stage prepare; no training is repeated because
of them, as they change no output.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML, YAMLError

from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES
from face_attributes.common.errors import DataError, FileError
from face_attributes.common.files import read_regular
from face_attributes.contract.facts import Facts, interval
from face_attributes.params import Fraction, describe

Attribute = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,60}$")]
_LARGEST = 65_536
_FULL = "full"


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Rows(_Section):
    """The smallest number of images of each part. Runs with the small profile need not have so many."""

    train: int = Field(ge=1)
    validation: int = Field(ge=1)
    test: int = Field(ge=1)


class Share(_Section):
    """The smallest and the largest share of images with an attribute."""

    low: Fraction
    high: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


class Contract(_Section):
    """The limits for the data of a training."""

    rows: Rows
    share: Share = Field(description="The shares that every attribute may have.")
    shares: dict[Attribute, Share] = Field(
        default_factory=dict, max_length=100, description="Other limits for some attributes, by their names."
    )
    max_share_difference: Fraction = Field(
        description="The largest difference between the shares of an attribute in two parts."
    )
    max_contradictions: Fraction = Field(
        description="The largest share of images whose labels contradict each other."
    )
    max_repeated: Fraction = Field(
        description="The largest share of images that are left out as repetitions of others."
    )
    max_people_in_parts: int = Field(ge=0, description="How many people may be in more than one part.")

    def breaches(self, facts: Facts) -> Iterator[str]:
        """Yield a line for each limit that the data break.

        A share breaks a limit if its whole 95% interval is beyond it.
        """
        if facts.profile == _FULL:
            for part, least in self.rows.model_dump().items():
                if facts.rows[part] < least:
                    yield f"rows.{part}: {facts.rows[part]} images, must be at least {least}"
        for name, counts in facts.shares.items():
            key = f"shares.{name}" if name in self.shares else "share"
            yield from self._of_share(name, key, self.shares.get(name, self.share), facts)
            if (found := counts.difference(facts.rows)) and found.surely > self.max_share_difference:
                yield (
                    f"max_share_difference: {name} has {found.low:.1%} in {found.lowest} and "
                    f"{found.high:.1%} in {found.highest}, more than {self.max_share_difference:.1%} apart"
                )
        for name in self.without_attribute(facts):
            if name not in CELEBA_ATTRIBUTES:
                yield f"shares.{name}: the data have no such attribute, and CelebA has none"
        images = sum(facts.rows.values())
        for key, what, count, of in (
            ("max_contradictions", "images with contradictory labels", facts.contradictions.images, images),
            ("max_repeated", "images left out as repetitions", facts.repeated.images, facts.repeated.of),
        ):
            limit = getattr(self, key)
            low, _ = interval(count, of)
            if low > limit:
                yield f"{key}: {count} of {of} {what} ({count / of:.1%}), must be at most {limit:.1%}"
        if facts.people and facts.people.in_several_parts > self.max_people_in_parts:
            yield (
                f"max_people_in_parts: {facts.people.in_several_parts} people are in more than one part, "
                f"such as that of {facts.people.example}; must be at most {self.max_people_in_parts}"
            )

    def without_attribute(self, facts: Facts) -> list[str]:
        """Return the names in `shares` that the data have no attribute for."""
        return [name for name in self.shares if name not in facts.shares]

    @staticmethod
    def _of_share(name: str, key: str, limits: Share, facts: Facts) -> Iterator[str]:
        yes, images = facts.shares[name].total, sum(facts.rows.values())
        low, high = interval(yes, images)
        if high < limits.low or low > limits.high:
            yield (
                f"{key}: {name} has {yes / images:.1%} ({low:.1%} to {high:.1%}), must be "
                f"{limits.low:.1%} to {limits.high:.1%}"
            )


def read(path: Path) -> Contract | None:
    """Return the contract, or None without the file: nothing is required then.

    Raises:
        DataError: the file cannot be used.

    """
    if not path.exists():
        return None
    try:
        data = YAML(typ="safe").load(read_regular(path, _LARGEST))
        return Contract.model_validate(data)
    except ValidationError as error:
        raise DataError(f"{path}: {describe(error, Contract)}; see docs/data.md") from None
    except (FileError, YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: not valid ({' '.join(str(error).split())[:200]}); see docs/data.md"
        ) from None
