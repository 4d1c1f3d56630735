"""Checks of the machine and the checkout, before the engine changes anything."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from gitops.errors import GitError
from gitops.git.repository import Repository
from infra.local.errors import EngineError

PYTHON = (3, 11)
GIT = (2, 38)
FREE_BYTES = 3 * 1024**3


def check(checkout: Path) -> str:
    """Check the machine and the checkout. Return a line with versions and free space.

    Raises:
        EngineError: Something is missing. The message names it and the remedy.

    """
    if sys.version_info[:2] != PYTHON:
        there = ".".join(map(str, sys.version_info[:2]))
        raise EngineError(
            f"Python {there}: Visage needs Python 3.11",
            command="make setup",
        )
    git = git_version()
    head = _head(checkout)
    free = shutil.disk_usage(checkout).free
    if free < FREE_BYTES:
        raise EngineError(
            f"{checkout}: {free / 1024**3:.1f} GiB free, {FREE_BYTES / 1024**3:.0f} GiB needed",
            command=f"df -h {shlex.quote(str(checkout))}",
        )
    return f"Python {sys.version.split()[0]}, git {git}, commit {head[:12]}, {free / 1024**3:.0f} GiB free"


def git_version() -> str:
    """Return git's version.

    Raises:
        EngineError: Git is missing or too old.

    """
    try:
        output = subprocess.run(
            ["git", "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except FileNotFoundError as error:
        raise EngineError("git: not installed; install git 2.38 or newer") from error
    except subprocess.SubprocessError as error:
        raise EngineError(f"git: does not work ({error}); install git 2.38 or newer") from error
    version = re.search(r"(\d+)\.(\d+)(\.\d+)*", output)
    if version is None or (int(version[1]), int(version[2])) < GIT:
        raise EngineError(f"{output.strip()}: too old; install git 2.38 or newer")
    return version[0]


def uncommitted(checkout: Path) -> int:
    """Return the number of uncommitted files. They are not part of a release."""
    status = Repository(checkout).git("status", "--porcelain", "--untracked-files=all")
    return len(status.splitlines())


def _head(checkout: Path) -> str:
    repository = Repository(checkout)
    try:
        top = Path(repository.git("rev-parse", "--show-toplevel"))
    except GitError as error:
        hint = "; run this in a clone of the repository, not in an unpacked archive"
        raise EngineError(f"{error}{hint if 'not a git repository' in str(error) else ''}") from error
    if top.resolve() != checkout.resolve():
        raise EngineError(
            f"{checkout}: part of the git repository {top}; Visage needs a repository of its own"
        )
    try:
        return repository.resolve("HEAD")
    except GitError as error:
        raise EngineError(
            f"{checkout}: no commit yet; a release is a commit",
            command="git add --all && git commit",
        ) from error
