"""Reading the facts of a `prune` from git, from the DVC remote and from caches."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from hashlib import file_digest, md5
from itertools import chain
from pathlib import Path

from gitops.dvc.objects import Objects, Store, in_folder, members
from gitops.errors import SettingsError
from gitops.git.repository import Repository
from gitops.release.state import ReleaseState
from gitops.upkeep.content import CHECKOUT, DIR, contents, of_checkout
from gitops.upkeep.plan import Facts, Kept, Reference


def load_facts(
    repository: Repository,
    remote: str,
    state: ReleaseState,
    objects: Objects,
    *,
    caches: Iterable[Path] = (),
    incidents: Iterable[str] = (),
    now: datetime,
) -> tuple[Facts, Store]:
    """Read everything that a plan depends on, as last fetched from a remote.

    Args:
        repository: The repository.
        remote: Its remote.
        state: The release state of that remote.
        objects: The objects of the DVC remotes.
        caches: Caches of DVC, beside the one that its settings name.
        incidents: The environments with an open alarm.
        now: The present time.

    Raises:
        StorageError: if the DVC remote does not answer.

    """
    references = tuple(_references(repository, remote, state))
    ran = {name: tuple(_known(repository, state.ran(name))) for name in state.environments}
    held = {name for name in state.environments if state.present(name).holds(now)}
    pinned = frozenset(_known(repository, [state.tip, *_named(state), *_here(repository)]))
    commits = {*pinned, *chain(*ran.values()), *(one.commit for one in references)}
    store = objects.store()
    folders = [*dict.fromkeys(path.resolve() for path in (*caches, store.cache) if path)]
    kept = [Kept(one.digest, one.size, one.at) for one in store.objects]
    for folder in folders:
        for digest, path in in_folder(folder).items():
            about = path.stat()
            kept.append(Kept(digest, about.st_size, about.st_mtime, str(folder)))
    facts = Facts(
        references,
        {**contents(repository, commits), CHECKOUT: of_checkout(repository)},
        ran,
        frozenset({*held, *incidents}),
        frozenset(state.main.forgotten.objects),
        pinned | {CHECKOUT},
        _folders(store, folders),
        tuple(kept),
        {one.digest: one.day for one in store.trash},
    )
    return facts, store


def _references(repository: Repository, remote: str, state: ReleaseState) -> Iterable[Reference]:
    space = repository.namespace(remote)
    # Those of tags name the tag, and the commit that it marks
    listed = repository.git(
        "for-each-ref",
        "--format=%(objectname) %(*objectname) %(refname)",
        *(f"{space}/{kind}/" for kind in ("heads", "tags", "exps")),
    )
    rows = [line.split(" ", 2) for line in listed.split("\n") if line]
    found = {
        name.replace(f"{space}/", "refs/", 1): (target, peeled or target) for target, peeled, name in rows
    }
    kinds = repository.objects([commit for _, commit in found.values()])
    commits = {one.id for one in kinds if one and one.kind == "commit"}  # a tag may mark anything
    dated = {one.id: one.at for one in repository.describe(commits)}
    for name, (target, commit) in found.items():
        if commit in dated:
            yield Reference(name, target, commit, dated[commit], commit in state.parents)


def _here(repository: Repository) -> Iterable[str]:
    """Yield the commits of the own branches, stash and experiments of a checkout: some are on no remote."""
    listed = repository.git(
        "for-each-ref", "--format=%(objectname)", "refs/heads/", "refs/stash", "refs/exps/"
    )
    kinds = repository.objects(["HEAD", *listed.split()])
    yield from (one.id for one in kinds if one and one.kind == "commit")


def _known(repository: Repository, commits: Iterable[str]) -> list[str]:
    return [commit for commit in dict.fromkeys(commits) if repository.has(commit)]


def _named(state: ReleaseState) -> Iterable[str]:
    """Yield the commits that settings, approvals, shadows and canaries name, and the last verified ones."""
    yield from (one.release for one in state.approvals.given)
    for name in state.environments:
        if trial := state.present(name).trial:
            yield trial
        with suppress(SettingsError):  # the gates report them
            if anchor := state.settings(name).anchor_release:
                yield anchor
        yield from (one.release for one in state.verdicts.verifications(name)[-1:])


def _folders(store: Store, caches: Iterable[Path]) -> dict[str, frozenset[str]]:
    """Return the files of each folder that the DVC remote or a cache has, if its list is whole."""
    found = dict(store.folders)
    for cache in caches:
        for digest, path in in_folder(cache).items():
            if digest.endswith(DIR) and digest not in found and is_whole(digest, path):
                found[digest] = frozenset(members(path).values())
    return found


def is_whole(digest: str, path: Path) -> bool:
    """Return whether a file has the bytes of a digest."""
    try:
        with path.open("rb") as content:
            made = file_digest(content, lambda: md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        return False  # another prune took it
    return made == digest.removesuffix(DIR)
