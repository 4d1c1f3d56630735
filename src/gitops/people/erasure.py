"""Erasure: the objects of DVC that have data of a person, and the releases that lose them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gitops.people.history import LABELLED, Recorded

_SHARDS = ("data/raw", "data/holdout.parquet", "data/sample.parquet")
ARRAYS = "data/prepared"
GALLERY = "plots/worst_errors.jpg"
_HOLDOUT = "data/holdout.parquet"


@dataclass(frozen=True)
class Erasure:
    """The result.

    Attributes:
        objects: The objects to remove.
        lost: The digests of the outputs of commits that are removed, or lack a file.
        commits: The commits that record one of them.

    """

    objects: frozenset[str]
    lost: frozenset[str]
    commits: tuple[str, ...]


def erasure(
    found: Collection[str], folders: Mapping[str, Collection[str]], records: Iterable[Recorded]
) -> Erasure:
    """Decide which objects of DVC are removed.

    Arrays have no ids, and a gallery is one picture of many photographs. So those that were made of data with
    the person go with them: the arrays unless a commit without the person has the same file, and a gallery
    with its hold-out set.

    Args:
        found: The objects in which the person was found.
        folders: The objects that are folders, with the objects of their files.
        records: The outputs of all commits.

    """
    listed = list(records)
    # No search finds a person in arrays. A journal has those that were to go before the data were rebuilt.
    direct = set(found).difference(*(arrays_of(record.outs, folders) for record in listed))
    direct |= {folder for folder, files in folders.items() if direct & set(files)}
    arrays, kept = set[str](), set[str]()
    derived = set[str]()
    for record in listed:
        parts = arrays_of(record.outs, folders)
        if _has_person(record, direct):
            arrays |= parts
        else:
            kept |= parts
        gallery = record.outs.get(GALLERY)
        if gallery and record.outs.get(_HOLDOUT) in direct:
            derived.add(gallery)
    derived |= arrays - kept
    objects = direct | derived
    objects |= {folder for folder in arrays if folder in folders and folder not in kept}
    lost = {digest for record in listed for digest in record.outs.values() if digest in objects}
    commits = tuple(
        commit for record in listed if lost & set(record.outs.values()) for commit in record.commits
    )
    return Erasure(frozenset(objects), frozenset(lost), commits)


def arrays_of(outs: Mapping[str, str], folders: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return the objects of the arrays in the outputs of a commit."""
    made = outs.get(ARRAYS)
    return frozenset({made, *folders.get(made, ())} if made else ())


def _has_person(record: Recorded, direct: Collection[str]) -> bool:
    """Whether the photographs that the arrays of a commit were made of are among those that are removed."""
    return any(
        digest in direct
        for path, digest in record.outs.items()
        if path in _SHARDS or path.startswith(f"{LABELLED}/")
    )
