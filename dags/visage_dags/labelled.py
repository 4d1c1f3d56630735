"""The labelled batches that wait to become training data, in an environment's data folder.

labelled/<batch>/   photographs and their attribute list; complete when its folder appears (rename it in)

A batch waits until the commit that is trained from has it. It is not moved meanwhile: a run appends it to its
own candidate, and a candidate that is never merged takes its batches with it.
"""

from pathlib import Path

FOLDER = "labelled"


def waiting(home: Path) -> list[str]:
    """The names of the batches in order; a leading dot marks one that still arrives."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")


def pointer(batch: str) -> str:
    """The file in git that says that a batch is part of the training data."""
    return f"data/labelled/{batch}.parquet.dvc"
