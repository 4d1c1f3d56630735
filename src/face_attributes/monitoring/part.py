"""A part of a large batch: the photographs of one scoring of several, perhaps on another machine.

Part 3 of 50 has the third fiftieth of the photographs in the order of their names. `join` puts the parts
together.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from face_attributes.common.errors import DataError

KEY = "part"
TOTAL = "photographs"
UNUSABLE = "unusable"
_MOST = 100_000


@dataclass(frozen=True)
class Part:
    """The number of a part, from 1, and the count of parts."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read a part such as `3/50`.

        Raises:
            DataError: It is no part.

        """
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
        if match is None or not int(match[1]) <= int(match[2]) <= _MOST:
            raise DataError(f"{text}: not a part; write 3/50 for the third of fifty")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def bounds(self, total: int) -> tuple[int, int]:
        """Return the places of the first photograph and behind the last one, of `total` in their order."""
        return total * (self.number - 1) // self.count, total * self.number // self.count

    def metadata(self, total: int, bad: Mapping[str, str]) -> dict[str, str]:
        """Return the entries for the metadata of its file: names that are not UTF-8 stay as they are."""
        return {KEY: str(self), TOTAL: str(total), UNUSABLE: json.dumps(bad)}
