"""The copy of the repository that a bundle keeps, and the checkout from which its DAGs are served."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from gitops.errors import GitError
from gitops.git import trial_checkout
from gitops.git.repository import Repository
from gitops.paths import MAIN

EMPTY = "refs/gitops/empty"
"""A commit without a release, which is served before the first one."""

_MOST_PACKS = 50
"""The packs from which `git gc --auto` joins them."""

# Fixed, so that the empty release has the same id everywhere.
_NOBODY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "Visage"), ("EMAIL", "visage@localhost"), ("DATE", "2000-01-01T00:00:00Z"))
}


def usable(bare: Repository) -> bool:
    """Return whether a copy is here and whole."""
    return bare.path.is_dir() and bare.has(MAIN) and bare.has(EMPTY)


def make_bare(path: Path, url: str, dags: str, fetch: Callable[[Repository], None]) -> None:
    """Make the copy of a repository.

    Args:
        path: The place of the copy.
        url: The address of the repository.
        dags: The folder of the DAGs in the repository.
        fetch: Fetches main into a copy.

    Raises:
        GitError: if none can be made.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".bare-") as folder:
        fresh = Repository(Path(folder) / "bare")
        fresh.path.mkdir()
        fresh.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
        fresh.git("config", "core.hooksPath", "/dev/null")
        # The provider looks for an origin; fetches name the connection's URL, which may change.
        fresh.git("remote", "add", "origin", url)
        blob = fresh.git("hash-object", "-w", "--stdin", input=b"")
        folder_id = fresh.git("mktree", input=f"100644 blob {blob}\t.gitkeep\n")
        tree = fresh.git("mktree", input=f"040000 tree {folder_id}\t{dags}\n")
        empty = fresh.git("commit-tree", "-m", "No release yet", tree, env=_NOBODY)
        fresh.git("update-ref", EMPTY, empty)
        fetch(fresh)
        if not fresh.has(MAIN):
            raise GitError(f"{url}: has no branch main; push one")
        shutil.rmtree(path, ignore_errors=True)
        fresh.path.replace(path)


def place(bare: Repository, tracking: Repository, target: str, dags: Path, *, repair: bool) -> None:
    """Check a commit out, unless that was done. If the checkout fails, the present one stays.

    Args:
        bare: The copy of the repository.
        tracking: The checkout.
        target: The commit.
        dags: The folder of the DAGs in the checkout.
        repair: Whether the checkout is made again: a killed process may have left it half done.

    Raises:
        CheckoutError: where a file of the commit cannot be made here.
        GitError: when git fails.

    """
    present = _present(tracking)
    if repair or present != target:
        trial_checkout.make(bare, target, bare.path.parent, None if repair else present)
        if present is None:
            _make(bare, tracking.path)
        _check_out(bare, tracking, target, present)
        # Airflow parses a file again at once when it is newer, else only now and then: a release that changes
        # no DAG file would be a while in showing.
        for file in dags.rglob("*.py"):
            os.utime(file, follow_symlinks=False)


def _present(tracking: Repository) -> str | None:
    """Return the commit that is checked out, or None where there is no checkout that git can read.

    A checkout with objects of its own, as earlier versions made, does not count: it gets no later commits.
    """
    if not (tracking.path / ".git/objects/info/alternates").is_file():
        return None
    found = tracking.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    return found.stdout.decode().strip() or None if found.returncode == 0 else None


def _make(bare: Repository, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=bare.path.parent, prefix=".tracking-") as folder:
        # It borrows the objects of the copy, so no commit has to be brought to it.
        fresh = Repository.clone(str(bare.path), Path(folder) / "clone", "--no-checkout", "--shared")
        fresh.git("config", "core.hooksPath", "/dev/null")
        shutil.rmtree(path, ignore_errors=True)
        fresh.path.replace(path)


def _check_out(bare: Repository, tracking: Repository, target: str, present: str | None) -> None:
    # Held by nobody: every process that writes here holds the bundle's lock, as this one does.
    (tracking.path / ".git" / "index.lock").unlink(missing_ok=True)
    # One step from release to release: a DAG file is never parsed in the state of a third commit.
    before = present or tracking.resolve("HEAD")
    try:
        tracking.git("checkout", "--quiet", "--force", "--detach", target, timeout=300)
    except GitError:
        # The trial has passed, so the machine is the reason: a full disk, perhaps. Git has moved HEAD.
        tracking.git("checkout", "--quiet", "--force", "--detach", before, timeout=300)
        raise
    tracking.git("clean", "--quiet", "-ffdx", timeout=300)
    # Each fetch adds a pack, and a reader looks into each of them.
    if len(list((bare.path / "objects/pack").glob("*.pack"))) > _MOST_PACKS:
        bare.git("-c", "gc.autoDetach=false", "gc", "--auto", "--quiet", timeout=300)
