"""Folders within each other, which no path may be long enough to reach."""

import os
from pathlib import Path


def nest(folder: Path, name: str, levels: int) -> None:
    """Make folders of one name within each other, and a file in the last one."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("1.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
