"""The checkout that a command runs in: its repository, its remote, and the comparer of its models."""

import os
import shlex
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from gitops.errors import GitError, GitopsError
from gitops.git.credentials import git_variables
from gitops.git.objects import is_full_sha
from gitops.git.repository import Repository
from gitops.text import instructions
from gitops.text.instructions import Meeting, meeting_of

_ERR = Console(stderr=True, highlight=False)


def open_checkout(remote: str | None, *, needed: bool = True) -> tuple[Repository, str]:
    """Find the repository and its remote. Without `needed`, the remote is '' if there is no remote at all."""
    os.environ.update(git_variables())
    repository = Repository.find()
    remotes = repository.remotes()
    if remote is None and not remotes and not needed:
        return repository, ""
    if remote is None:
        remote = _default(remotes)
    if remote not in remotes:
        shown = ", ".join(remotes) or "none"
        raise GitopsError(f"{remote}: no such git remote here (there are: {shown}); name one with --remote")
    return repository, remote


def meeting(repository: Repository, remote: str) -> Meeting:
    """Return where proposals are merged that go to a remote of this checkout."""
    return meeting_of(repository.remote_url(remote), remote, _default(repository.remotes()))


def following(repository: Repository, remote: str, state: Any) -> Any:
    """Return the next step of a person in this checkout."""
    from gitops.airflow.client import ACCESS_FILE
    from gitops.promotion.next_step import NextStep, next_step

    if state.main.model is None and not (repository.path / ACCESS_FILE).exists():
        return NextStep("no model is trained yet, and nothing runs here", ("make up",))
    return next_step(state, meeting(repository, remote))


def print_next(step: Any, console: Console) -> None:
    """Print a sentence and the commands that go on from there."""
    console.print(f"\n{step.text[:1].upper()}{step.text[1:]}. Next:\n", soft_wrap=True, markup=False)
    console.print(instructions.text(step.commands, "    "), soft_wrap=True, markup=False)


def _default(remotes: Sequence[str]) -> str:
    return "visage" if "visage" in remotes else "origin"


def comparer(repository: Repository, remote: str) -> Any:
    """Return the comparer of the models of this repository's commits, which it gets from the DVC remote.

    The code of main compares them. Nothing of a commit that is judged is executed.
    """
    from gitops.gates.comparer import Comparer
    from gitops.git.workspace import Origin

    engine = repository.path / ".visage" / "dvc-config"
    if remote == "visage" and engine.is_dir():
        # The local engine's models are on its own DVC remote, which the user's shell need not know.
        os.environ.setdefault("DVC_GLOBAL_CONFIG_DIR", str(engine))
    origin = Origin(str(repository.path), dvc_config=repository.path / ".dvc" / "config.local")

    def main() -> str:
        return repository.resolve(repository.branch_ref(remote, "main") if remote else "main")

    return Comparer(
        repository,
        origin,
        repository.path / ".visage" / "gates",
        main,
        lambda message: _ERR.print(message, soft_wrap=True, markup=False),
    )


def commit_of(repository: Repository, remote: str, name: str) -> str:
    """Return the commit that a branch of the remote, or else any name in this checkout, stands for.

    The full id of a commit that is not here yet, as a pull request has it, is fetched from the remote.
    """
    if remote:
        pushed = repository.branch_ref(remote, name)
        if repository.has(pushed):
            return repository.resolve(pushed)
        if is_full_sha(name) and not repository.has(name):
            repository.fetch_refs(remote, name)
    try:
        return repository.resolve(name)
    except GitError as error:
        place = f"no branch of {remote}, and " if remote else ""
        problem = f"{name}: {place}no commit, branch or tag in this checkout"
        listing = shlex.join(["git", "ls-remote", "--heads", remote]) if remote else "git branch --all"
        raise GitError(problem, command=listing) from error
