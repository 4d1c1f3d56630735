"""Summary: a scored batch in a few figures, for pages that look at a year of batches and read no rows."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from face_attributes.common.files import write_json

_DAY = "date="
_DIGITS = 6
LIKE = 0.5
"""The least certainty of the detector about an image that is like an aligned face."""


def is_summary(path: Path) -> bool:
    """Return whether a file is a summary that an earlier scoring wrote."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"format", "batch", "model_sha256", "rows"} <= content.keys()


class Summary:
    """Adds up the rows of a batch as they are scored."""

    def __init__(self, attributes: Sequence[str]) -> None:
        self.rows = 0
        self.unlike = 0
        self._attributes = tuple(attributes)
        self._scores = dict.fromkeys(attributes, 0.0)
        self._positive = dict.fromkeys(attributes, 0)

    def add(self, rows: pa.RecordBatch) -> None:
        """Add scored rows; they have for each attribute a decision and a column `<attribute>_score`."""
        self.rows += rows.num_rows
        if "score" in rows.schema.names:  # files of earlier releases have none
            self.unlike += pc.sum(pc.less(rows.column("score"), LIKE)).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue] made at import
        for name in self._attributes:
            self._scores[name] += pc.sum(rows.column(f"{name}_score").cast(pa.float64())).as_py()  # pyright: ignore[reportAttributeAccessIssue] made at import
            self._positive[name] += pc.sum(rows.column(name)).as_py()  # pyright: ignore[reportAttributeAccessIssue] made at import

    def write(
        self, path: Path, scores: Path, model_sha256: str, release: str | None, bad: Mapping[str, str]
    ) -> None:
        """Write the figures as JSON.

        Args:
            path: file to write.
            scores: the Parquet file that they are about; its folder `date=<day>` gives the day.
            model_sha256: digest of the model.
            release: the commit that the model belongs to, if it is to be noted.
            bad: the reason for each image that could not be used.

        """
        day = next((part for part in reversed(scores.parts[:-1]) if part.startswith(_DAY)), None)
        write_json(
            path,
            {
                "format": 1,
                "batch": scores.stem,
                "day": day and day.removeprefix(_DAY),
                "release": release,
                "model_sha256": model_sha256,
                "rows": self.rows,
                "quarantined": dict(sorted(Counter(bad.values()).items())),
                "attributes": {
                    name: {
                        "mean_score": round(self._scores[name] / self.rows, _DIGITS),
                        "positive": round(self._positive[name] / self.rows, _DIGITS),
                    }
                    for name in self._attributes
                    if self.rows
                },
            },
        )
