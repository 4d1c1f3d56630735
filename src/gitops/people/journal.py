"""The journal of a `forget`: its findings, written before it erases anything, so that a killed one can go on.

It has names of photographs, so only its owner may read it, and it is removed at the end.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from gitops import atomic
from gitops.errors import GitopsError
from gitops.people.process import Known
from gitops.private import private_folder


@dataclass(frozen=True)
class Journal:
    """The plan of a forget.

    Attributes:
        known: The photographs, see `process.Known`.
        objects: The objects of DVC to remove.
        lost: The outputs of releases that go with them, by their digests.

    """

    known: dict[str, Any] = field(default_factory=dict[str, Any])
    objects: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it; an empty one if there is none."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError) as error:
            raise GitopsError(f"{path}: damaged ({error}); remove it and run the command again") from error

    def write(self, path: Path) -> None:
        """Write it, for its owner alone."""
        private_folder(path.parent)
        atomic.write(path, json.dumps(asdict(self)))

    def adding(self, known: Known, objects: Iterable[str], lost: Iterable[str]) -> Self:
        """Return it with more. The plan of before stays: a later search finds less."""
        merged: dict[str, Any] = {
            key: sorted({*self.known.get(key, ()), *known.content.get(key, ())})
            for key in ("digests", "fingerprints", "pixels")
        }
        spaces = {*self.known.get("ids", {}), *known.content.get("ids", {})}
        merged["ids"] = {
            space: sorted(
                {*self.known.get("ids", {}).get(space, ()), *known.content.get("ids", {}).get(space, ())}
            )
            for space in sorted(spaces)
        }
        return type(self)(merged, sorted({*self.objects, *objects}), sorted({*self.lost, *lost}))

    def without(self, objects: Collection[str]) -> Self:
        """Return it without objects that turned out to have nobody who is forgotten."""
        return type(self)(self.known, [one for one in self.objects if one not in objects], self.lost)


def path_of(folder: Path, given: Iterable[str]) -> Path:
    """Return the place of the journal of a request, which is the same whenever it is made again."""
    name = hashlib.sha256("\n".join(sorted(given)).encode()).hexdigest()[:16]
    return folder / f"{name}.json"
