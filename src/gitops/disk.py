"""The room on the disks of this environment."""

import shutil
from collections.abc import Iterable
from pathlib import Path

LEAST = 100 * 1024**2
"""Free bytes below which a failure here is no failure of a release."""


def trouble(folders: Iterable[Path]) -> str | None:
    """Return the first folder whose disk is full, or cannot be asked, as one line; None if all have room."""
    for folder in folders:
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            return f"disk: {folder}: {error.strerror}"
        if free < LEAST:
            return f"disk: {folder}: {free / 1024**2:.0f} MiB free, {LEAST / 1024**2:.0f} MiB needed"
    return None
