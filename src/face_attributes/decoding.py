"""Many images at once: decoded in threads, a little ahead of whoever takes them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from joblib import cpu_count

In = TypeVar("In")
Out = TypeVar("Out")

BATCH = 64
_AHEAD = 4 * BATCH


def ahead(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """Yield `function` of each item, in order, computed in threads at most a few batches ahead."""
    # joblib's count knows the limits of a container
    with ThreadPoolExecutor(cpu_count()) as pool:
        pending: deque[Future[Out]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
