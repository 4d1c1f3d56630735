"""A trial checkout: whether every file of a commit can be made here, before it takes the place of another."""

import stat
import tempfile
from pathlib import Path

from gitops.errors import CheckoutError
from gitops.git.repository import Repository


def make(repository: Repository, commit: str, folder: Path) -> None:
    """Check `commit` out into a new folder under `folder`, look at every file, and remove it again.

    Raises:
        CheckoutError: naming a file that differs from the commit: one that is missing, one of two with
            the same name, a submodule, or a link that leads nowhere or out of the checkout.
        GitError: when git fails.

    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".trial-", ignore_cleanup_errors=True) as trial:
        root = Path(trial).resolve() / "files"
        root.mkdir()
        index = {"GIT_INDEX_FILE": str(root.with_name("index")), "GIT_WORK_TREE": str(root)}
        git_dir = {"GIT_DIR": repository.git("rev-parse", "--absolute-git-dir")}
        repository.git("read-tree", commit, env=index | git_dir, timeout=300)
        made = repository.run("checkout-index", "--all", "--quiet", env=index | git_dir, timeout=300)
        seen: set[str] = set()
        for entry in repository.entries(commit):
            if entry.path in seen:
                raise CheckoutError(f"{_shown(entry.path)} is there twice")
            seen.add(entry.path)
            _look(root, entry.path, entry.mode)
        if made.returncode != 0:
            lines = made.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
            raise CheckoutError(lines[-1])


def _look(root: Path, name: str, mode: str) -> None:
    path = root / name
    shown = _shown(name)
    if mode == "160000":
        raise CheckoutError(f"{shown} is a submodule")
    try:
        kind = path.lstat().st_mode
    except OSError as error:
        raise CheckoutError(f"{shown}: {error.strerror}") from error
    if mode != "120000":
        if not stat.S_ISREG(kind):
            raise CheckoutError(f"{shown} is no regular file")
        return
    try:
        inside = path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError) as error:
        raise CheckoutError(f"{shown} is a link that leads nowhere") from error
    if not inside:
        raise CheckoutError(f"{shown} is a link that leads out of the repository")


def _shown(name: str) -> str:
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return printable if len(printable) <= 80 else f"{printable[:77]}..."
