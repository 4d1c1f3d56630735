"""The time, cores and memory that a stage took."""

import sys
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from joblib import cpu_count

_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


def measured(seconds: float, processes: int = 1) -> dict[str, float]:
    """Return the seconds, the cores of this machine, and the gigabytes of memory at most.

    Args:
        seconds: The time that the work took.
        processes: The number of child processes that worked at the same time; 1: this process did the work.

    """
    memory = getrusage(RUSAGE_SELF).ru_maxrss
    if processes > 1:
        memory += processes * getrusage(RUSAGE_CHILDREN).ru_maxrss
    return {
        "seconds": round(seconds, 1),
        "cores": cpu_count(),
        "memory_gb": round(memory * _MAXRSS_BYTES / 1e9, 2),
    }
