"""The place of a task: its environment, the release that it belongs to, and that release's git repository."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitops.errors import SettingsError
from gitops.git.objects import is_full_sha
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, fetch, resolve
from gitops.release.environments import EARLIER, Environments
from gitops.release.settings import Settings
from gitops.training import source as training_source

CONNECTION = "git_default"
"""The Airflow connection of the git repository that releases come from."""


def environment() -> str:
    """Return the name of this environment.

    Raises:
        SettingsError: when VISAGE_ENVIRONMENT is not set.

    """
    name = Settings.from_environ().visage_environment
    if not name:
        raise SettingsError("VISAGE_ENVIRONMENT", "not set", "environments/<env>/settings.env sets it")
    return name


def environments() -> Environments:
    """Return the environments of the release that the current task belongs to.

    The release itself names the environment that follows main, so nobody can change that for a running
    release. Outside of a task they are the earlier ones.

    Raises:
        EnvironmentsError: when they are not valid.

    """
    try:
        dag = _context()["dag"]
    except RuntimeError:
        return EARLIER
    return Environments.from_folder(Path(dag.fileloc).resolve().parents[1])


def _context() -> Mapping[str, Any]:
    """Return the context of the current task, which has every key; Airflow's type lets each be absent."""
    from airflow.sdk import get_current_context

    return get_current_context()


def home() -> Path:
    """Return the data folder of this environment.

    Raises:
        SettingsError: when VISAGE_HOME is not set.

    """
    folder = os.environ.get("VISAGE_HOME")
    if folder is None:
        raise SettingsError("VISAGE_HOME", "not set", "the engine that runs Airflow sets it")
    return Path(folder)


def workspaces() -> Path:
    """Return the folder of the throw-away clones."""
    return home() / "workspaces"


def mirror() -> Path:
    """Return the folder of this environment's bare copy of the repository."""
    return home() / "origin.git"


def release(checkout: Path | None = None) -> str:
    """Return the commit (40 hex digits) of the release that the current task belongs to.

    A task that Airflow started has it as its bundle's version. A task of `airflow dags test` has the commit
    of the checkout that its DAG file lies in.

    Args:
        checkout: The folder of the release; by default the one that holds the DAG file of the task.

    """
    context = _context()
    return release_of(context["ti"], Path(context["dag"].fileloc), checkout)


def release_of(task_instance: Any, dag_file: Path, checkout: Path | None = None) -> str:
    """Return the commit of the release that a task instance belongs to, see `release`."""
    bundle = getattr(task_instance, "bundle_instance", None)
    version = bundle.version if bundle else None
    return version or checkout_release(checkout or dag_file.resolve().parents[1])


def checkout_release(checkout: Path) -> str:
    """Return the commit of a release by the folder that it is checked out in."""
    # A bundle keeps a version in a folder of its name, without .git.
    return checkout.name if is_full_sha(checkout.name) else Repository(checkout).resolve("HEAD")


def origin() -> Origin:
    """Return the repository of the connection `git_default`, with its credentials.

    A workspace of it refuses a commit that may not run in this environment.
    """
    from airflow.providers.git.hooks.git import GitHook  # pyright: ignore[reportMissingTypeStubs]

    hook = GitHook(CONNECTION)

    @contextmanager
    def session() -> Generator[None]:
        with hook.configure_hook_env():
            before = dict(os.environ)
            os.environ.update(hook.env)
            try:
                yield
            finally:
                os.environ.clear()
                os.environ.update(before)

    def admit(repository: Repository, commit: str) -> None:
        known = environments()
        if known.trains(environment()):
            main = resolve(repository_origin, "main", workspaces())
            fetch(repository, repository_origin, main)
            files = (training_source.storage(repository, revision) for revision in (commit, main))
            training_source.admit_storage(commit, *files)
            return
        own = release()
        fetch(repository, repository_origin, own)
        changed = training_source.changed(repository, own, commit)
        training_source.admit(environment(), own, commit, changed, environments=known)

    repository_origin = Origin(url=str(hook.repo_url), session=session, admit=admit)
    return repository_origin


def url() -> str:
    """Return the address of the repository, or "" where the connection is missing or makes no sense."""
    import logging

    from airflow.sdk.exceptions import AirflowException

    try:
        return origin().url
    except (AirflowException, ValueError) as error:
        # A broken connection may be the very trouble that a notice reports.
        logging.getLogger(__name__).warning("No address by %s: %s", CONNECTION, error)
        return ""
