"""`data/forgotten.json`: photographs that were deleted on somebody's request, by their digests alone.

The stage `collect` takes none of them again. The file also names the objects of DVC that went with them: a
release that records one of them lost data, so nobody can verify it, train from it, or go back to it.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from gitops.dvc.lockfile import Lock
from gitops.errors import ParseError, ReleaseError
from gitops.paths import FORGOTTEN
from gitops.text import record

_FORMAT = 1
_REMEDY = f"restore {FORGOTTEN} of main: git checkout origin/main -- {FORGOTTEN}"
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")]


class Forgotten(BaseModel):
    """The contents.

    Attributes:
        photographs: The SHA-256 of each photograph's file.
        fingerprints: 256 bits of the picture of each, by which another file of it is known.
        objects: The MD5 digests by which DVC knew files that were deleted.

    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = 1
    photographs: tuple[_Sha256, ...] = ()
    fingerprints: tuple[_Sha256, ...] = ()
    objects: tuple[_Md5, ...] = ()

    @classmethod
    def read(cls, content: bytes | None) -> Self:
        """Read the file of a commit; a commit without one has forgotten nothing.

        Raises:
            ReleaseError: It cannot be read.

        """
        if content is None:
            return cls()
        try:
            return record.read(cls, content)
        except ParseError as error:
            raise ReleaseError(error.place(FORGOTTEN), str(error), _REMEDY, rule="forgotten") from error

    def adding(self, photographs: Iterable[str], fingerprints: Iterable[str], objects: Iterable[str]) -> Self:
        """Return it with more digests, sorted, each once."""
        return type(self)(
            photographs=tuple(sorted({*self.photographs, *photographs})),
            fingerprints=tuple(sorted({*self.fingerprints, *fingerprints})),
            objects=tuple(sorted({*self.objects, *objects})),
        )

    def and_of(self, other: Self) -> Self:
        """Return it with the digests of another one."""
        return self.adding(other.photographs, other.fingerprints, other.objects)

    def missing_in(self, other: "Forgotten") -> int:
        """Return how many of its digests another one lacks."""
        pairs = (
            (self.photographs, other.photographs),
            (self.fingerprints, other.fingerprints),
            (self.objects, other.objects),
        )
        return sum(len({*own} - {*others}) for own, others in pairs)

    def render(self) -> bytes:
        """Return the file."""
        return (json.dumps(self.model_dump(mode="json"), indent=1) + "\n").encode()

    def lost(self, lock: Lock) -> list[str]:
        """Return the outputs that a `dvc.lock` records and that were deleted."""
        if not self.objects:
            return []
        gone = set(self.objects)
        return [path for path, digest in lock.digests().items() if digest in gone]


NOBODY = Forgotten()
