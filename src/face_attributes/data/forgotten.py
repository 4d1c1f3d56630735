"""Photographs that somebody asked to delete: known by digests alone, and never collected again.

`gitops forget` writes `data/forgotten.json`. A photograph is known by the SHA-256 of its file, and by its
fingerprint (see `duplicates`), also when it comes as another file or mirrored.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from face_attributes.common.errors import DataError, ImageError
from face_attributes.common.paths import FORGOTTEN
from face_attributes.data import duplicates, photographs
from face_attributes.data.alignment import faces_of

REASON = "somebody asked to delete it"
_FORMAT = 1


@dataclass(frozen=True)
class Forgotten:
    """Digests of photographs.

    Attributes:
        digests: The SHA-256 of each file, in hexadecimal digits.
        fingerprints: Fingerprints, each of `duplicates.BYTES` bytes.

    """

    digests: frozenset[str] = frozenset()
    fingerprints: frozenset[bytes] = field(default_factory=frozenset[bytes])

    @classmethod
    def read(cls, path: Path = FORGOTTEN) -> "Forgotten":
        """Read the list; a checkout from before there was one has none.

        Raises:
            DataError: It is no such list.

        """
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except ValueError:
            raise DataError(f"{path}: not JSON; restore it with git") from None
        try:
            if content["format"] != _FORMAT:
                raise DataError(f"{path}: format {content['format']}, not {_FORMAT}; use the code of main")
            prints = frozenset(bytes.fromhex(value) for value in content["fingerprints"])
            if any(len(value) != duplicates.BYTES for value in prints):
                raise ValueError("a fingerprint of another length")
            return cls(frozenset(content["photographs"]), prints)
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{path}: not a list of digests; restore it with git") from None

    @cached_property
    def _array(self) -> np.ndarray:
        rows = [np.frombuffer(value, np.uint8) for value in sorted(self.fingerprints)]
        return np.stack(rows) if rows else np.zeros((0, duplicates.BYTES), np.uint8)

    def has_file(self, content: bytes) -> bool:
        """Return whether the file of a photograph is one of them, whatever it shows."""
        return bool(self.digests) and hashlib.sha256(content).hexdigest() in self.digests

    def has(self, content: bytes) -> bool:
        """Return whether a photograph is one of them: its file, or the picture or a face on it."""
        if self.has_file(content):
            return True
        return bool(self.fingerprints) and self.looks_like(views(content))

    def looks_like(self, images: Iterable[np.ndarray]) -> bool:
        """Return whether one of some uint8 RGB images looks the same as one of them."""
        prints = [duplicates.fingerprint(image) for image in images]
        return bool(prints) and bool(self.alike(np.stack(prints)).any())

    def alike(self, fingerprints: np.ndarray) -> np.ndarray:
        """Return a bool array (N,): whether the fingerprints (N, BYTES) are those of one of them."""
        return np.logical_or.reduce(duplicates.same(fingerprints, self._array), axis=1)


def views(content: bytes) -> list[np.ndarray]:
    """Return the picture of a photograph, and the aligned faces on it; nothing for one that is unreadable."""
    try:
        picture = photographs.decode(content)
    except ImageError:
        return []
    try:
        faces = [face.pixels for face in faces_of(content, "auto")]
    except ImageError:
        return [picture]
    # An aligned photograph is its own face
    return faces if len(faces) == 1 and faces[0].shape == picture.shape else [picture, *faces]
