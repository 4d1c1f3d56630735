"""Listing the keys of environments on main, and choosing the trust root of an engine."""

from collections.abc import Mapping

from gitops.errors import VerdictError
from gitops.git.repository import Repository
from gitops.paths import MAIN
from gitops.release import keys
from gitops.release.environments import Environments
from gitops.release.keys import PrivateKey
from gitops.release.signatures import SIGNERS, Lists, Trust
from gitops.release.snapshot import Snapshot, latest


def enrol(repository: Repository, own: Mapping[str, PrivateKey], root: str | None) -> str:
    """List the keys of environments on main of an engine's own bare repository.

    Nothing changes if they are listed already. Main of this repository belongs to the engine, so no signature
    is needed: the trust root moves where the lists would not count otherwise.

    Args:
        repository: The bare repository.
        own: The key of each environment.
        root: The present trust root, or None.

    Returns:
        The trust root: a commit of main at which every key is listed.

    Raises:
        VerdictError: If main did not grow out of the trust root, or a list was changed by nobody who may.
        GitError: If git fails, or somebody pushed to main meanwhile.

    """
    tip = repository.resolve(MAIN)
    names = dict.fromkeys([*own, *_environments(repository, tip)])
    lists = _trusted(repository, tip, names, root)
    missing = [name for name, key in own.items() if not _lists_key(lists, name, key)]
    if missing:
        files: dict[str, bytes | None] = {
            keys.path_of(name): listing(repository.read(tip, keys.path_of(name)), name, own[name])
            for name in missing
        }
        commit = repository.commit_files(tip, files, f"List the keys of {', '.join(missing)}\n")
        repository.git("update-ref", MAIN, commit, tip)
        tip = commit
        later = _trusted(repository, tip, names, root)
        if root is not None and all(_lists_key(later, name, own[name]) for name in missing):
            return root
    elif root is not None and (lists.signers is None or repository.read(root, SIGNERS) is not None):
        return root
    _require_unchanged(repository, tip, lists, {keys.path_of(name) for name in missing})
    return tip


def listing(content: bytes | None, environment: str, key: PrivateKey) -> bytes:
    """Return a list of keys with one more."""
    before = content or b""
    return before + (b"" if not before or before.endswith(b"\n") else b"\n") + key.line(environment)


def _environments(repository: Repository, tip: str) -> Environments:
    return latest(repository, Snapshot.load(repository, tip))[0]


def _trusted(repository: Repository, tip: str, names: Mapping[str, object], root: str | None) -> Lists:
    lists = Trust(repository, tip, names, root).lists
    if lists.problem:
        raise VerdictError(f"{repository.path}: {lists.problem}")
    return lists


def _lists_key(lists: Lists, environment: str, key: PrivateKey) -> bool:
    listed = lists.keys(environment)
    return listed is not None and key.public in listed.keys


def _require_unchanged(repository: Repository, tip: str, lists: Lists, but: set[str]) -> None:
    """Refuse a trust root with a list that counts for nothing now, which it would make count."""
    trusted = {SIGNERS: lists.signers}
    trusted |= {keys.path_of(name): content for name, content in lists.verifiers.items()}
    for path, content in trusted.items():
        if content is not None and path not in but and repository.read(tip, path) != content:
            raise VerdictError(
                f"{path}: nobody who may sign it has signed its last change; put it back on main first"
            )
