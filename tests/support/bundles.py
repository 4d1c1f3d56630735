"""Bundles of releases, as processes of an Airflow make them."""

from collections.abc import Callable

from gitops.airflow.bundle import ReleaseBundle

Make = Callable[..., ReleaseBundle]


def version(bundle: ReleaseBundle) -> str:
    return bundle.get_current_version().version
