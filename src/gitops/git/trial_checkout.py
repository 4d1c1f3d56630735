"""A trial checkout: whether every file of a commit can be made here, before it takes the place of another."""

import os
import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from gitops.errors import CheckoutError
from gitops.git.objects import Entry
from gitops.git.repository import Repository

DEEPEST = 100
"""The folders in each other that a checkout may have. Python removes and reads them one call in another."""
_LINK = "120000"
_ATTRIBUTES, _LARGEST = ".gitattributes", 100_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KEPT = {
    "ident": ("unspecified", "unset"),
    "filter": ("unspecified", "unset"),
    "working-tree-encoding": ("unspecified",),
}
"""The states in which git leaves the content of a file as it is, whatever else is set."""
_REWRITING = re.compile(rb"crlf|ident|filter|working-tree-encoding")
"""Without one of these words, no attribute rewrites a file."""


def make(bare: Repository, commit: str, folder: Path, present: str | None = None) -> None:
    """Check `commit` out into a new folder under `folder`, look at every file, and remove it again.

    Args:
        bare: A repository without a checkout.
        commit: The commit.
        folder: The folder, on the disk of the checkout.
        present: A commit that is checked out on that disk. The files that `commit` shares with it are not
            made again, unless `commit` has links, which may lead to any of them.

    Raises:
        CheckoutError: naming a file that differs from the commit: one that is missing, one of two with
            the same name or in too many folders, a submodule, or a link that leads nowhere or out of the
            checkout.
        GitError: when git fails.

    """
    entries, seen = bare.entries(commit), set[str]()
    for entry in entries:
        if entry.path in seen:
            raise CheckoutError(f"{_shown(entry.path)} is there twice")
        seen.add(entry.path)
        if entry.path.count("/") > DEEPEST:
            raise CheckoutError(f"{_shown(entry.path)} is in more than {DEEPEST} folders")
    if odd := rewritten(bare, commit, entries):
        raise CheckoutError(f"{_shown(odd[0])} is rewritten by .gitattributes")
    if present and bare.has(present) and all(entry.mode != _LINK for entry in entries):
        known = set(bare.entries(present))
        entries = [entry for entry in entries if entry not in known]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".trial-", ignore_cleanup_errors=True) as trial:
        root = Path(trial).resolve() / "files"
        root.mkdir()
        variables = {
            "GIT_DIR": str(bare.path.resolve()),
            "GIT_INDEX_FILE": str(root.with_name("index")),
            "GIT_WORK_TREE": str(root),
        }
        bare.git("read-tree", commit, env=variables, timeout=300)
        names = b"".join(os.fsencode(entry.path) + b"\0" for entry in entries)
        made = bare.run("checkout-index", "--quiet", "-z", "--stdin", env=variables, input=names, timeout=300)
        for entry in entries:
            _look(root, entry.path, entry.mode)
        if made.returncode != 0:
            lines = made.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
            raise CheckoutError(lines[-1])


def rewritten(repository: Repository, commit: str, entries: Sequence[Entry]) -> list[str]:
    """Return the files that git puts into a checkout with another content than was reviewed.

    Attributes (`.gitattributes`) make it do so. Git itself names the files that they concern.

    Args:
        repository: Has the commit.
        commit: The commit, or its tree.
        entries: Its files.

    Returns:
        Those files, and files of attributes that another system reads otherwise.

    """
    named = [entry for entry in entries if entry.path.rpartition("/")[2].lower() == _ATTRIBUTES]
    contents = repository.contents(named, _LARGEST)
    if not any(content is None or _REWRITING.search(content) for content in contents.values()):
        return []
    odd = [
        path
        for path, content in contents.items()
        # A system that takes no notice of capitals finds it under any of its names
        if content is None or content.startswith(_BYTE_ORDER_MARK) or path.rpartition("/")[2] != _ATTRIBUTES
    ]
    files = [entry.path for entry in entries if entry.mode.startswith("100")]
    attributes = repository.attributes(commit, files, (*_KEPT, "eol"))
    return odd + [path for path, values in attributes.items() if _is_rewritten(values)]


def _is_rewritten(values: Mapping[str, str]) -> bool:
    # `-text` would undo `eol=crlf`, but git shows the value in `text=unset`, which undoes nothing, as it does
    return values["eol"] == "crlf" or any(values[name] not in kept for name, kept in _KEPT.items())


def _look(root: Path, name: str, mode: str) -> None:
    path = root / name
    shown = _shown(name)
    if mode == "160000":
        raise CheckoutError(f"{shown} is a submodule")
    try:
        kind = path.lstat().st_mode
    except OSError as error:
        raise CheckoutError(f"{shown}: {error.strerror}") from error
    if mode != _LINK:
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
