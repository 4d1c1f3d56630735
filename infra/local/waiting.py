"""Wait for a condition, with a limit."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(check: Callable[[], T | None], *, seconds: float, pause: float = 0.5) -> T | None:
    """Call `check` until it returns a true value, and return that. Return None after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() >= deadline:
            return None
        time.sleep(pause)
    return found
