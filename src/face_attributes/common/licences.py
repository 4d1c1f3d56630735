"""The terms of the data in `data/licences.yaml`, as a card shows them. `gitops` judges by the same file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ruamel.yaml import YAML, YAMLError

from face_attributes.common.errors import DataError

_LARGEST = 65_536
_T = TypeVar("_T")


@dataclass(frozen=True)
class Terms:
    """The terms of one source of data, or of one appended batch."""

    name: str
    licence: str
    url: str | None
    uses: tuple[str, ...]
    photographs: bool


def read(path: Path) -> dict[str, Terms]:
    """Return the terms by `source <name>` and `batch <name>`; none without the file.

    Raises:
        DataError: the file is damaged.

    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return {}
    if len(content) > _LARGEST:
        raise DataError(f"{path}: larger than {_LARGEST:,} bytes")
    try:
        data = YAML(typ="safe").load(content)
        return {
            f"{kind} {name}": Terms(
                _is(str, row["name"]),
                _is(str, row["licence"]),
                None if row.get("url") is None else _is(str, row["url"]),
                tuple(_is(str, use) for use in _is(list, row["uses"])),
                _is(bool, row["photographs"]),
            )
            for kind, section in (("source", "sources"), ("batch", "batches"))
            for name, row in (data.get(section) or {}).items()
        }
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not valid ({line}); see docs/data.md") from error


def _is(kind: type[_T], value: object) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} in the place of a {kind.__name__}")
    return value
