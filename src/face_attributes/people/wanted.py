"""The photographs that are looked for: by ids, by digests, and by their pictures."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from face_attributes.data import duplicates
from face_attributes.data.forgotten import Forgotten, views
from face_attributes.evaluation.columns import digests as pixel_digests

DATA = ""
"""The space of the ids of the training data. Each environment has a space of its own."""


def plain(name: str) -> str:
    """Return the id of a photograph from that of a face on it, `party.jpg#2`."""
    photograph, _, number = name.rpartition("#")
    return photograph if photograph and number.isdigit() else name


@dataclass
class Wanted:
    """Photographs to find. It grows while it is used: a photograph that looks the same has another id.

    Attributes:
        given: Ids as a person gave them: of any space, or `<environment>:<id>`.
        ids: Ids that were found, by space.
        digests: SHA-256 of files.
        fingerprints: Of the photographs that were given, and of those with a given id.
        pixels: Digests of aligned faces, as files of scores have them.

    """

    given: frozenset[str]
    ids: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    digests: set[str] = field(default_factory=set[str])
    fingerprints: set[bytes] = field(default_factory=set[bytes])
    pixels: set[bytes] = field(default_factory=set[bytes])

    @classmethod
    def of(cls, request: dict[str, Any]) -> "Wanted":
        """Return those of a request: `given`, and the result of an earlier search."""
        known = request.get("known", {})
        return cls(
            given=frozenset(request.get("given", ())),
            ids={space: set(names) for space, names in known.get("ids", {}).items()},
            digests=set(known.get("digests", ())),
            fingerprints={bytes.fromhex(value) for value in known.get("fingerprints", ())},
            pixels={bytes.fromhex(value) for value in known.get("pixels", ())},
        )

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {
            "ids": {space: sorted(names) for space, names in sorted(self.ids.items()) if names},
            "digests": sorted(self.digests),
            "fingerprints": sorted(value.hex() for value in self.fingerprints),
            "pixels": sorted(value.hex() for value in self.pixels),
        }

    def names(self, name: str, space: str) -> bool:
        """Return whether an id of a space is one of them."""
        photograph = plain(name)
        return (
            photograph in self.given
            or f"{space}:{photograph}" in self.given
            or photograph in self.ids.get(space, ())
        )

    def asked(self, name: str, space: str) -> bool:
        """Return whether a person asked for this id."""
        return name in self.given or f"{space}:{name}" in self.given

    def seed(self, content: bytes) -> None:
        """Add a photograph that a person asked for, by its content."""
        self._file(content)
        for view in views(content):
            self.fingerprints.add(duplicates.fingerprint(view).tobytes())
        self._faces(content)

    def found(self, name: str, space: str, content: bytes) -> None:
        """Add a photograph that is one of them, under the id that it has in a space."""
        self.ids.setdefault(space, set()).add(name)
        self._file(content)
        self._faces(content)

    def _file(self, content: bytes) -> None:
        if content:  # an empty file is everybody's
            self.digests.add(hashlib.sha256(content).hexdigest())

    def _faces(self, content: bytes) -> None:
        for view in views(content):
            self.pixels.update(pixel_digests(view[None]))

    def forgotten(self) -> Forgotten:
        """Return the test whether a photograph is one of them."""
        return Forgotten(frozenset(self.digests), frozenset(self.fingerprints))
