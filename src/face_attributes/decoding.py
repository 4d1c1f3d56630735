"""Many images at once: decoded in threads, a little ahead of whoever reads them."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

BATCH = 64
_AHEAD = 3 * BATCH


def ahead(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """Yield `function` of each item in order, computed in threads, a few batches ahead."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
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
