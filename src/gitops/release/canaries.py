"""Canaries: a share of an environment's work that another model answers, and which part of it that is.

A hash of the commit and of the name of the work decides, so a retry has the same answer, and a larger share
includes the smaller one.
"""

import hashlib

STEPS = (1, 5, 10, 25, 50)
"""The shares in percent that an environment proposes one after the other; a promotion follows the last."""
_RANGE = 1 << 64


def picks(name: str, commit: str, share: int) -> bool:
    """Return whether a canary answers a piece of work.

    Args:
        name: The name of a batch, or the digest of a request.
        commit: The commit of the canary: another canary gets another part.
        share: Percent, 0 to 100.

    """
    digest = hashlib.sha256(f"{commit} {name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") * 100 < share * _RANGE


def next_step(share: int) -> int | None:
    """Return the share after one, or None if a promotion comes next."""
    return next((step for step in STEPS if step > share), None)
