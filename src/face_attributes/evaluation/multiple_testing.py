"""Many tests at once: by Holm, so that one false alarm among them all is as rare as it was in one test."""

import numpy as np


def adjust(p_values: np.ndarray) -> np.ndarray:
    """Return the adjusted p-values (K,) of K p-values: those not over alpha are significant together.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics
    6 (1979), 65-70. It assumes nothing of how the tests depend on each other.
    """
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
