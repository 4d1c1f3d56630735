"""Contenders that are timed side by side: in turns, so that a busy moment of the machine hits all alike."""

import time
from collections.abc import Callable, Mapping

import numpy as np


def seconds(contenders: Mapping[str, Callable[[], object]], rounds: int, calls: int = 1) -> dict[str, float]:
    """Return the median seconds of a call over `rounds` rounds, after one that does not count.

    In its turn, each contender is called `calls` times. Otherwise, a call of less than a millisecond would be
    measured with the caches full of another contender's data.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            for _ in range(calls):
                run()
            if turn:
                times[name].append((time.perf_counter() - start) / calls)
    return {name: float(np.median(some)) for name, some in times.items()}
