"""The content of a commit that is on no git server: the objects of the storage that it needs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from gitops.dvc.lockfile import PIPELINE
from gitops.git.objects import Entry
from gitops.git.repository import Repository
from gitops.paths import LOCK, MODEL
from gitops.people.history import LABELLED, outs_of

CHECKOUT = "the checkout"
"""Stands for a commit: the files of a working tree, as they are now."""
DIR = ".dir"
"""The end of the digest of a folder, whose object lists its files."""
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?:\.dir)?(?![0-9a-f])")
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Content:
    """The needs of a commit.

    Attributes:
        digests: Every digest that a file of DVC in it names, also in one that cannot be read.
        outs: The path and the digest of each output that the storage keeps, and not git.

    """

    digests: frozenset[str] = frozenset()
    outs: tuple[tuple[str, str], ...] = ()

    @property
    def model(self) -> str:
        """The digest of its model; "" without one."""
        return dict(self.outs).get(MODEL, "")


def contents(repository: Repository, commits: Iterable[str]) -> dict[str, Content]:
    """Return the content of commits."""
    wanted = [*dict.fromkeys(commits)]
    names = [f"{commit}:{path}" for commit in wanted for path in (LOCK, PIPELINE, LABELLED)]
    ids = repository.object_ids(names)
    outs: dict[tuple[str | None, ...], dict[str, str]] = {}
    found: dict[str, tuple[list[str], tuple[tuple[str, str], ...]]] = {}
    for number, commit in enumerate(wanted):
        entries = repository.entries(commit)
        key = tuple(ids[3 * number : 3 * number + 3])
        if key not in outs:
            outs[key] = outs_of(repository, commit)
        in_git = {*chain(*(_with_folders(entry.path) for entry in entries))}
        stored = tuple(sorted((path, one) for path, one in outs[key].items() if path not in in_git))
        found[commit] = ([entry.object_id for entry in entries if _is_of_dvc(entry)], stored)
    blobs = repository.objects([*{*chain(*(files for files, _ in found.values()))}])
    texts = repository.blobs(blobs, _LARGEST)
    named = {one: frozenset(match.decode() for match in _DIGEST.findall(text)) for one, text in texts.items()}
    return {
        commit: Content(frozenset(chain(*(named.get(file, ()) for file in files))), stored)
        for commit, (files, stored) in found.items()
    }


def of_checkout(repository: Repository) -> Content:
    """Return the digests that files of DVC in a working tree name, also those that git does not know."""
    if repository.git("rev-parse", "--is-bare-repository") == "true":
        return Content()
    options = ("--cached", "--others", "--exclude-standard", "-z", "--full-name")
    listed = repository.git("ls-files", *options, "--", ":/*.dvc", f":/{LOCK}", f":/**/{LOCK}")
    texts = [
        path.read_bytes()
        for path in (repository.path / name for name in set(listed.split("\0")) if name)
        if path.is_file() and path.stat().st_size <= _LARGEST
    ]
    return Content(frozenset(match.decode() for text in texts for match in _DIGEST.findall(text)))


def _is_of_dvc(entry: Entry) -> bool:
    return entry.path.endswith(".dvc") or entry.path.rpartition("/")[2] == LOCK


def _with_folders(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
