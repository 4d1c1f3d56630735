"""Wait for what a process is about to do."""

from collections.abc import Callable

from infra.local import patience


def wait_for(check: Callable[[], object], seconds: float = 20) -> None:
    """Return when `check` is true; fail when it is not in time."""
    assert patience.until(lambda: bool(check()), seconds=seconds, pause=0.02), "did not happen in time"
