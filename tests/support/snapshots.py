"""Snapshots of commits that no repository has."""

import hashlib
import itertools
from collections.abc import Mapping

from gitops.release.snapshot import FILES, Snapshot

_COUNT = itertools.count()


def release(files: Mapping[str, bytes]) -> Snapshot:
    """Return a commit with these files; each has an id and an identity of its own."""
    name = hashlib.sha1(str(next(_COUNT)).encode(), usedforsecurity=False).hexdigest()
    return Snapshot(name, dict.fromkeys(FILES) | dict(files), identity=name)
