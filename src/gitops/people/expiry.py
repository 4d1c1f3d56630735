"""Expiry: retention in the environment of this process, by its settings and by main."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from gitops.git.repository import Repository
from gitops.git.workspace import Origin, update_mirror
from gitops.people.history import LABELLED
from gitops.people.retention import KINDS, Needed, sweep
from gitops.release.settings import Settings
from gitops.release.snapshot import Snapshot

_SUFFIX = ".parquet.dvc"


def remove_expired(
    origin: Origin, environment: str, home: Path, *, mirror: Path, settings: Settings, now: datetime
) -> Mapping[str, Any]:
    """Remove the data of an environment that is older than its settings allow; return the line of the record.

    Raises:
        ReleaseError: if the release file of main cannot be read: it may have a hold, so nothing is removed.
        GitError: if `origin` cannot be reached.

    """
    repository = update_mirror(origin, mirror)
    main = Snapshot.load(repository, repository.branch_ref(origin.url, "main"))
    return sweep(home, days_of(settings), needed(repository, main, environment, now), now)


def days_of(settings: Settings) -> dict[str, int]:
    """Return the days of each kind of data by the settings of an environment."""
    return {kind.setting: int(getattr(settings, kind.setting.lower())) for kind in KINDS}


def needed(repository: Repository, main: Snapshot, environment: str, now: datetime) -> Needed:
    """Return the reasons that main has for keeping data of an environment whatever its age.

    Raises:
        ReleaseError: if its release file cannot be read: it may have a hold.

    """
    release = main.release(environment, follows=main.environments.follows(environment))
    holds = release.holds(now) if release else ()
    pointers = repository.files(main.commit, LABELLED)
    merged = (Path(path).name.removesuffix(_SUFFIX) for path in pointers if path.endswith(_SUFFIX))
    reason = f"held: {'; '.join(hold.reason for hold in holds)}" if holds else ""
    return Needed(reason, frozenset(merged))
