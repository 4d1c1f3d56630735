"""Many images at once: decoded in threads, a little ahead of whoever takes them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from joblib import cpu_count

from face_attributes.common.errors import DataError, ImageError
from face_attributes.data import images
from face_attributes.data.shards import Rows, ShardReader

In = TypeVar("In")
Out = TypeVar("Out")

BATCH = 64
_AHEAD = 4 * BATCH


def ahead(
    function: Callable[[In], Out],
    items: Iterable[In],
    at_most: int = _AHEAD,
    threads: int | None = None,
) -> Iterator[Out]:
    """Yield `function` of each item, in order, computed in threads `at_most` items ahead.

    Without `threads` there is one for each core.
    """
    # joblib's count knows the limits of a container
    with ThreadPoolExecutor(threads or cpu_count()) as pool:
        pending: deque[Future[Out]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= at_most:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def decoded(path: Path, partition: str | None = None) -> Iterator[tuple[Rows, np.ndarray]]:
    """Yield the rows of a Parquet file (of one part, or of all), some at a time, with their images.

    Yields:
        At most BATCH rows, and their images as a uint8 array (N, 218, 178, 3), RGB.

    Raises:
        DataError: the file cannot be read, or an image of it cannot be decoded.

    """

    def decode(rows: Rows) -> tuple[Rows, np.ndarray]:
        pixels = []
        for name, jpeg in zip(rows.ids, rows.jpegs, strict=True):
            try:
                pixels.append(images.decode(jpeg))
            except ImageError as error:
                raise DataError(f"{path}: image {name}: {error}") from None
        return rows, np.stack(pixels)

    return ahead(decode, ShardReader([path]).batches(BATCH, partition), at_most=_AHEAD // BATCH)
