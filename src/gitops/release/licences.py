"""Licences: `data/licences.yaml`, the uses that the data of a model allow.

`USE` in an environment's settings is its use. The licences of main count, as a licence is a fact of today,
whichever commit the data is from.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gitops.errors import LicencesError, ParseError
from gitops.text import parse

PATH = "data/licences.yaml"
BATCHES = "data/labelled"
OTHER = "other"
_RIGHT = "see docs/data.md"
Use = Literal["research", "commercial"]
_Text = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f])?$", max_length=300)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def _truth(value: object) -> object:
    # Only the words of YAML 1.2: `no` is none of them, and the stage `card` would not read it as false
    words = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
    if isinstance(value, str):
        if value not in words:
            raise ValueError("write true or false")
        return words[value]
    return value


_Truth = Annotated[bool, BeforeValidator(_truth)]


class Terms(BaseModel):
    """The terms of one source of data, or of a batch that was appended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Text = Field(description="The data, for people.")
    licence: _Text = Field(description="The licence, as an SPDX name or in words.")
    url: _Text | None = Field(None, description="Where the terms are.")
    uses: tuple[Use, ...] = Field(max_length=2, description="The uses that it allows.")
    photographs: _Truth = Field(description="Whether it shows people.")


class Licences(BaseModel):
    """The licences of the data that models learn from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: dict[_Name, Terms] = Field(
        default_factory=dict, max_length=50, description="By the value of data.source in params.yaml."
    )
    batches: dict[_Name, Terms] = Field(
        default_factory=dict,
        max_length=5000,
        description="By the name of an appended batch; `other` is for batches that are not named.",
    )

    @classmethod
    def read(cls, content: bytes | None) -> Self:
        """Read `data/licences.yaml`; without the file, nothing is known.

        Raises:
            LicencesError: with the place, the problem and the remedy.

        """
        if content is None:
            return cls()
        try:
            data = parse.yaml_value(content, parse.CALENDAR)
        except ParseError as error:
            raise LicencesError(error.place(PATH), str(error), _RIGHT) from error
        if not isinstance(data, dict):
            raise LicencesError(PATH, "not a mapping of keys to values", _RIGHT)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))[:80]
            shown = place if place.isprintable() else repr(place)
            raise LicencesError(PATH, f"{shown}: {first['msg']}", _RIGHT) from error

    def terms(self, source: object, batches: Iterable[str]) -> Iterator[tuple[str, Terms | None]]:
        """Yield each source of a model's data with its terms; None where the file does not have them.

        Args:
            source: `data.source` of its parameters.
            batches: The names of the batches that were appended.

        """
        yield f"source {source}", self.sources.get(str(source))
        for batch in batches:
            yield f"batch {batch}", self.batches.get(batch) or self.batches.get(OTHER)

    def forbidden(self, source: object, batches: Iterable[str], use: Use) -> list[str]:
        """Return the data that a use does not allow, each with its licence.

        Data of unknown terms may be used for research.
        """
        found: list[str] = []
        for name, terms in self.terms(source, batches):
            if terms is None and use != "research":
                found.append(f"{name}: no licence in {PATH}")
            elif terms is not None and use not in terms.uses:
                found.append(f"{name}: {terms.licence}")
        return found


def batches(files: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the batches among the files of a commit."""
    inside = (path.removeprefix(f"{BATCHES}/") for path in files if path.startswith(f"{BATCHES}/"))
    return tuple(
        sorted(name.removesuffix(".parquet.dvc") for name in inside if name.endswith(".parquet.dvc"))
    )
