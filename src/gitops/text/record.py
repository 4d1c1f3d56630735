"""Records: JSON files that one part writes and another part reads. One class describes each of them.

`schemas/` holds the JSON Schema of each, `scripts/schemas.py` writes it. The part that writes a file and the
part that reads it may belong to different releases, so a reader ignores keys that it does not know, and gives
keys that earlier releases did not write a default. A change that readers cannot ignore gets another `format`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gitops.errors import ParseError
from gitops.text import parse

LARGEST = 4_000_000
_YEARS = range(1970, 2101)
_LARGEST_NUMBER = 1e15


class Record(BaseModel):
    """A file, or a part of one, as this version reads it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


def _plausible(value: datetime) -> datetime:
    if value.year not in _YEARS:
        raise ValueError("a time from 1970 to 2100")
    return value.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_plausible)]
"""A time in UTC, from 1970 to 2100."""
Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(ge=-_LARGEST_NUMBER, le=_LARGEST_NUMBER)]
"""A number that can be counted with."""
Count = Annotated[int, Field(ge=0, le=int(_LARGEST_NUMBER))]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_Kind = TypeVar("_Kind", bound=BaseModel)


def read_file(kind: type[_Kind], path: Path) -> _Kind:
    """Read a record from a regular file.

    Raises:
        ParseError: as `read`, or where it is no regular file.
        OSError: where it cannot be opened.

    """
    return read(kind, parse.file(path, LARGEST))


def read(
    kind: type[_Kind],
    content: bytes,
    *,
    largest: int = LARGEST,
    earlier: str = "make it again",
    later: str = "update the program that reads it",
) -> _Kind:
    """Read a record.

    Args:
        kind: The class that describes it.
        content: The content of the file.
        largest: The size in bytes that the file may have.
        earlier: The remedy for a file in a format of earlier code.
        later: The remedy for a file in a format of later code.

    Raises:
        ParseError: with one problem on one line: the key and the fault, or the format that is not known.

    """
    if len(content) > largest:
        raise ParseError(f"larger than {largest:,} bytes")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A file of another format may lack keys, too: its format explains them
        first = next((one for one in problems if one["loc"] == ("format",)), problems[0])
        where = ".".join(map(str, first["loc"])) or "content"
        written = first["input"]
        if where == "format" and isinstance(written, int) and not isinstance(written, bool):
            known = get_args(kind.model_fields["format"].annotation)
            age = f"of later code, so {later}" if written > max(known) else f"of earlier code, so {earlier}"
            *first_ones, newest = map(str, known)
            formats = f"{', '.join(first_ones)} and {newest}" if first_ones else newest
            raise ParseError(f"format {written}, where this version reads {formats}: it is {age}") from error
        raise ParseError(f"{where}: {first['msg']}") from error
