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


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""First characters that make a spreadsheet compute a cell. `'` is its mark for text, which is doubled."""


def write(path: Path, reasons: dict[str, str]) -> None:
    """Write `id,reason`, one line for each bad image, by name.

    Whoever sends an image chooses its name, so no cell can be a formula in a spreadsheet.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("id", "reason"))
    writer.writerows(map(_as_text, row) for row in sorted(reasons.items()))
    write_text(path, stream.getvalue())


def read(path: Path) -> dict[str, str]:
    """Return the reasons that `write` wrote; none if there is no such file."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {_plain(row["id"]): _plain(row["reason"]) for row in csv.DictReader(file)}


def is_list(path: Path) -> bool:
    """Return whether a file is a list that `write` wrote, and not something else of that name."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), None) == ["id", "reason"] and not path.is_symlink()
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
