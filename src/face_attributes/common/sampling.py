"""Sampling: some images that stand for all, chosen by a hash of their names.

So the choice is the same wherever it is made, keeps every share in proportion, and changes little as images
are added.
"""

import hashlib
import heapq
from collections.abc import Iterable


def choose(names: Iterable[str], count: int) -> set[str]:
    """Return `count` of the names, or all where there are no more."""
    return set(heapq.nsmallest(count, names, key=_rank))


def _rank(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8, salt=b"sample").digest()
