"""Images that could not be used, and why."""

import csv
import io
from collections import Counter
from pathlib import Path

from face_attributes.common.errors import DataError
from face_attributes.common.files import write_text


class Quarantine:
    """Collects the name and the reason of each bad image, up to a share of all images."""

    def __init__(self, total: int, max_fraction: float) -> None:
        self._total = total
        self._max_fraction = max_fraction
        self.reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, name: str, reason: str) -> None:
        """Note a bad image.

        Raises:
            DataError: there are now more of them than allowed.

        """
        self.reasons[name] = reason
        if len(self.reasons) > self._max_fraction * self._total:
            reasons = Counter(self.reasons.values()).most_common(3)
            most = ", ".join(f"{count} {reason}" for reason, count in reasons)
            raise DataError(
                f"{len(self.reasons)} of {self._total} images are bad so far ({most}; the last is {name}), "
                f"data.max_bad_fraction allows {self._max_fraction:g}; mend them or raise it in params.yaml"
            )


def write(path: Path, reasons: dict[str, str]) -> None:
    """Write `id,reason`, one line for each bad image, by name."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("id", "reason"))
    writer.writerows(sorted(reasons.items()))
    write_text(path, stream.getvalue())


def read(path: Path) -> dict[str, str]:
    """Return the reasons that `write` wrote; none if there is no such file."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}
