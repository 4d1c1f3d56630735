"""Upkeep by the schedule of an environment, by its settings and by main."""

import logging
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from gitops.dvc.objects import Objects
from gitops.errors import StorageError
from gitops.git.workspace import Origin, update_mirror
from gitops.people.expiry import remove_expired as remove_data
from gitops.people.retention import amend, open_alarm
from gitops.release.settings import Settings
from gitops.upkeep import doctor
from gitops.upkeep.plan import Policy, kept_releases
from gitops.upkeep.policy import policy_of
from gitops.upkeep.prune import Prune

log = logging.getLogger(__name__)

_CONFIG = ".dvc/config"
_READ_EACH_DAY = 1 << 30
_MOST = 5


def remove_expired(
    origin: Origin, environment: str, home: Path, *, mirror: Path, settings: Settings, now: datetime
) -> dict[str, Any]:
    """Remove the data of an environment that is older than it may be, and prune if its settings ask for it.

    Returns:
        The line of the record of data; `pruned` has the numbers of branches and tags, and of objects.

    Raises:
        GitError: if `origin` cannot be reached.
        StorageError: if the DVC remote does not answer.

    """
    line = dict(remove_data(origin, environment, home, mirror=mirror, settings=settings, now=now))
    if policy := policy_of(settings):
        with _prune(origin, environment, home, mirror, policy, now) as work:
            due, store = work.plan()
            if due.unknown:
                log.warning("No object goes: %s of a kept release is missing.", due.unknown[0])
            work.act(due, store)
        line["pruned"] = {"references": len(due.references), "objects": len(due.objects)}
        amend(home, line)
    return line


def check_storage(
    origin: Origin, environment: str, home: Path, *, mirror: Path, settings: Settings, now: datetime
) -> dict[str, int]:
    """Ask the DVC remote for every object that a kept release of an environment needs; read a part each day.

    Returns:
        The numbers of `objects`, of those `read`, and of `releases`.

    Raises:
        StorageError: if an object is missing or damaged, or the DVC remote does not answer.

    """
    policy = policy_of(settings) or Policy()
    with _prune(origin, environment, home, mirror, policy, now) as work:
        facts, store = work.facts()
        releases = kept_releases(facts, policy)[environment]
        wanted = doctor.needs(facts, {environment: releases})
        found = doctor.examine(work.objects, wanted, store, most=_READ_EACH_DAY, day=now.date())
    if found.faults:
        listed = "; ".join(map(str, found.faults[:_MOST]))
        raise StorageError(
            f"{store.name}: {len(found.faults)} objects of releases are missing or damaged: {listed}; "
            "put them back: .venv/bin/gitops doctor --repair"
        )
    return {"objects": found.needs, "read": found.read, "releases": len(releases)}


@contextmanager
def _prune(
    origin: Origin, environment: str, home: Path, mirror: Path, policy: Policy, now: datetime
) -> Generator[Prune]:
    repository = update_mirror(origin, mirror)
    incidents = (environment,) if open_alarm(home) else ()
    # The configuration of main names the remote, wherever it is, and nothing else of main is needed
    with tempfile.TemporaryDirectory(prefix="gitops-upkeep-") as folder, origin.session():
        content = repository.read(repository.branch_ref(origin.url, "main"), _CONFIG)
        file = Path(folder) / _CONFIG
        file.parent.mkdir()
        file.write_bytes(content or b"")
        if origin.dvc_config and origin.dvc_config.is_file():
            file.with_suffix(".local").write_bytes(origin.dvc_config.read_bytes())
        yield Prune(repository, origin.url, Objects(Path(folder)), policy, now, (), incidents, log.info)
