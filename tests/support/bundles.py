"""Bundles of releases, as processes of an Airflow make them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gitops.airflow.admission import Admission
from gitops.airflow.bundle import ReleaseBundle
from gitops.git.repository import Repository
from gitops.release.serving import Serving

Make = Callable[..., ReleaseBundle]


def version(bundle: ReleaseBundle) -> str:
    return bundle.get_current_version().version


def serving(bundle: ReleaseBundle) -> Serving:
    """Return the record of the release that a bundle serves."""
    assert bundle.serving is not None
    return bundle.serving


def admit(repository: Repository, release: str, before: str | None, folder: Path) -> Admission:
    """Let every release in: for tests about declarations, whose releases have neither code nor a model."""
    return Admission()


UNCHECKED: dict[str, Any] = {"examine": admit, "observe": None}
"""A bundle that takes each release as it comes."""
