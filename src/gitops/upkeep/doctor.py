"""Doctor: whether the storage has every object that kept releases need, and the repair from caches."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from gitops.dvc.objects import Objects, Store, in_folder
from gitops.upkeep.content import DIR
from gitops.upkeep.load import is_whole
from gitops.upkeep.plan import Facts

State = Literal["missing", "damaged"]


@dataclass(frozen=True)
class Need:
    """An object that releases need: its digest, and the first need of it, for people."""

    digest: str
    of: str


@dataclass(frozen=True)
class Fault:
    """An object that is needed and not there, or not whole."""

    need: Need
    state: State

    def __str__(self) -> str:
        return f"{self.need.of} ({self.need.digest}): {self.state}"


@dataclass(frozen=True)
class Examination:
    """The result.

    Attributes:
        needs: The number of objects that the releases need.
        releases: The number of these releases.
        read: The objects whose bytes were compared with their digests.
        read_bytes: Their size.
        faults: The objects that are missing or damaged.

    """

    needs: int
    releases: int
    read: int
    read_bytes: int
    faults: tuple[Fault, ...]


def needs(facts: Facts, releases: Mapping[str, Iterable[str]]) -> list[Need]:
    """Return every object that releases need, each once, those of the newest releases first.

    Args:
        facts: The facts, whose folders are known.
        releases: The releases of each environment, newest first.

    """
    found: dict[str, Need] = {}
    for environment, commits in releases.items():
        for commit in commits:
            for path, digest in facts.contents[commit].outs:
                if digest in facts.forgotten:
                    continue
                of = f"{path} of {commit[:12]}, which {environment} ran"
                found.setdefault(digest, Need(digest, of))
                for file in sorted(facts.folders.get(digest, ())):
                    found.setdefault(file, Need(file, f"a file of {of}"))
    return list(found.values())


def portion(sizes: Mapping[str, int], most: int, day: date) -> list[str]:
    """Return the digests of objects of up to `most` bytes together: every day another part of all.

    An object that is larger than `most` comes alone on its day.
    """
    chosen: list[str] = []
    left = most
    for digest in sorted(sizes, key=lambda one: hashlib.sha256(f"{day} {one}".encode()).digest()):
        if sizes[digest] <= left or (not chosen and most):
            chosen.append(digest)
            left -= sizes[digest]
    return chosen


def examine(
    objects: Objects, wanted: list[Need], store: Store, *, most: int, day: date, releases: int = 0
) -> Examination:
    """Ask the DVC remote for every object, and read some.

    Args:
        objects: The objects of the DVC remotes.
        wanted: The objects to ask for.
        store: The DVC remote as it is now.
        most: The bytes to read.
        day: The day, by which the objects to read are chosen.
        releases: The number of releases, for the result.

    Raises:
        StorageError: if it does not answer.

    """
    there = {one.digest: one.size for one in store.objects}
    faults = [Fault(one, "missing") for one in wanted if one.digest not in there]
    present = {one.digest: one for one in wanted if one.digest in there}
    # Lists of folders are small, and name the files that are needed
    chosen = portion({digest: there[digest] for digest in present}, most, day)
    chosen = [*dict.fromkeys([*chosen, *(digest for digest in present if digest.endswith(DIR))])]
    damaged = objects.read(chosen) if chosen else ()
    faults += [Fault(present[digest], "damaged") for digest in damaged]
    size = sum(there[digest] for digest in chosen)
    return Examination(len(wanted), releases, len(chosen), size, tuple(faults))


def repair(
    objects: Objects, faults: Iterable[Fault], store: Store, caches: Iterable[Path]
) -> Iterator[tuple[Fault, str]]:
    """Put objects back from the trash of the DVC remote and from caches, and yield each with its source.

    A fault comes without a source ("") where none has the object whole.
    """
    listed = list(faults)
    lacking = {one.need.digest for one in listed}
    trash = {one.digest: one for one in store.trash}
    wanted = [trash[digest] for digest in lacking if digest in trash]
    failed = set(objects.recover(wanted)) if wanted else set[str]()
    sources = {one.digest: f"the trash of {store.name}" for one in wanted if one.digest not in failed}
    files: dict[str, Path] = {}
    for cache in caches:
        for digest, path in in_folder(cache).items():
            if digest in lacking and digest not in {*sources, *files} and is_whole(digest, path):
                files[digest] = path
    damaged = set(objects.repair(files)) if files else set[str]()
    sources |= {digest: str(path) for digest, path in files.items() if digest not in damaged}
    for one in listed:
        yield one, sources.get(one.need.digest, "")
