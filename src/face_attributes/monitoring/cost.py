"""Cost: which kind of drift an alarm reports, and how much accuracy it probably costs.

Without labels, the accuracy can only be estimated. The estimate is the difference of confidences: how much
less probable the model finds its own decisions than on its validation images. On 20 changes of photographs it
was 0.7 points off in the mean. It recognized harmless changes within 0.2 points, and saw a third to a half of
real losses: grey images cost 2.7 points with an estimate of 1.5, a mask 6.2 with an estimate of 0.8. So it
may call a drift probably harmless, and it does not replace labels.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from face_attributes.data.image_statistics import STATISTICS

IMAGES, ANSWERS = "images changed", "answers shifted"
HARMLESS = 0.002  # of the accuracy


def kinds(columns: Iterable[str]) -> list[str]:
    """Return the kinds of drift that columns show: of the images, or of the answers of the model.

    The embedding describes the images to the model, so it shows both kinds, and counts where it drifts alone.
    """
    names = list(columns)
    images = any(name in STATISTICS for name in names)
    answers = any(name not in STATISTICS and not name.startswith("embedding_") for name in names)
    found = [IMAGES] * images + [ANSWERS] * answers
    return found or [IMAGES] * bool(names)


def confidence_change(found: pa.Table, expected: pa.Table, attributes: Sequence[str]) -> float:
    """Return how much more confident the model is in its decisions than on the reference, in the mean."""
    return _confidence(found, attributes) - _confidence(expected, attributes)


def harmless(change: float) -> bool:
    """Return whether a drift with this change of the confidence probably costs no accuracy."""
    return change >= -HARMLESS


def _confidence(table: pa.Table, attributes: Sequence[str]) -> float:
    means = []
    for name in attributes:
        decided = table.column(name).to_numpy()
        score = table.column(f"{name}_score").to_numpy().astype(np.float64)
        means.append(np.where(decided, score, 1 - score).mean())
    return float(np.mean(means))
