"""Where a task runs: its environment, the release that it belongs to, and that release's origin."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitops import training_source
from gitops.repository import Repository, is_full_sha
from gitops.workspace import Origin, fetch
from visage_dags import inputs

# The checkout of the release that this file is part of.
RELEASE_ROOT = Path(__file__).resolve().parents[2]


def environment() -> str:
    """The name of this environment: dev, staging or prod."""
    return inputs.VISAGE_ENVIRONMENT.read()


def home() -> Path:
    """The data folder of this environment."""
    return inputs.VISAGE_HOME.read()


def workspaces() -> Path:
    """The folder of the throw-away clones."""
    return home() / "workspaces"


def origin() -> Origin:
    """The repository of the connection `git_default`, with its credentials.

    A workspace of it holds a commit that may run here, and no other.
    """
    from airflow.providers.git.hooks.git import GitHook

    hook = GitHook(inputs.GIT.name)

    @contextmanager
    def session() -> Iterator[None]:
        with hook.configure_hook_env():
            before = dict(os.environ)
            os.environ.update(hook.env)
            try:
                yield
            finally:
                os.environ.clear()
                os.environ.update(before)

    def admit(repository: Repository, commit: str) -> None:
        if environment() == training_source.OPEN:
            return
        own = release()
        fetch(repository, found, own)
        training_source.admit(environment(), own, commit, repository.changed(own, commit))

    found = Origin(url=str(hook.repo_url), session=session, admit=admit)
    return found


def release() -> str:
    """The commit (40 hex digits) of the release that this task belongs to.

    A task that Airflow started has it as its bundle's version; one under `airflow dags test` takes the commit
    of the checkout that its DAG file lies in.
    """
    from airflow.sdk import get_current_context

    bundle = getattr(get_current_context()["ti"], "bundle_instance", None)
    version = bundle.version if bundle else None
    return version or checkout_release()


def checkout_release() -> str:
    """The commit of the release that this file is part of, where no task says it."""
    # A bundle keeps a version in a folder of its name, without .git.
    name = RELEASE_ROOT.name
    return name if is_full_sha(name) else Repository(RELEASE_ROOT).resolve("HEAD")
