"""The release that these DAGs belong to, and the data folder of the environment that runs it."""

from pathlib import Path

from gitops import tasks

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that the release is checked out in."""


def release() -> str:
    """Return the commit (40 hex digits) of the release that the task belongs to."""
    return tasks.release(checkout=str(CHECKOUT))


def home() -> Path:
    """Return the data folder of the environment."""
    return Path(tasks.home())
