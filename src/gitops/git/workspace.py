"""A throw-away clone in which one step works, and that is gone when the step ends, however it ends."""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from gitops.errors import GitError
from gitops.git import incoming
from gitops.git.objects import is_full_sha
from gitops.git.repository import Repository

log = logging.getLogger(__name__)

_LOCK_SUFFIX = ".lock"
_LARGEST_MIRROR = 2 * incoming.MOST


@dataclass(frozen=True)
class Origin:
    """Where releases live: the URL or path of the git repository, and how to be allowed in.

    `session()` is entered around each command that talks to the repository and around nothing else, so that
    the code of a release never runs with the credentials in its environment. `dvc_config` is a
    `.dvc/config.local`, which git does not carry and without which nothing may name the DVC remote.
    `admit` is called before a commit is checked out, and raises where it may not run.
    """

    url: str
    session: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)
    dvc_config: Path | None = None
    admit: Callable[[Repository, str], None] | None = None


@dataclass(frozen=True)
class Workspace:
    """A checkout of one commit of `origin`, detached, without history."""

    path: Path
    origin: Origin
    repository: Repository
    commit: str
    configured: bytes
    """The configuration of its git, which no code of the commit may change: git executes much of it."""


def configuration(path: Path) -> bytes:
    """Return the configuration of the git of a workspace."""
    return (path / ".git" / "config").read_bytes()


@contextmanager
def workspace(origin: Origin, commit: str, home: Path) -> Generator[Workspace]:
    """Check `commit` (40 hex digits) out of `origin` into a new folder under `home`; remove it at the end.

    Leftovers of a killed process under `home` are removed first, and processes that still work there are
    ended.

    Raises:
        GitError: if `origin` cannot be reached or has no such commit.

    """
    if not is_full_sha(commit):
        # A task gets it from the task before, in a place that people may edit.
        raise GitError(f"{commit[:80]!r}: not a full commit id, 40 hexadecimal digits")
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _alone_in(home):
            _sweep(home)
            # The lock before the folder: whatever ends this process in between, no folder lacks its lock.
            descriptor, name = tempfile.mkstemp(prefix=f"{commit[:12]}-", suffix=_LOCK_SUFFIX, dir=home)
            lock_path = Path(name)
            path = lock_path.with_name(lock_path.name.removesuffix(_LOCK_SUFFIX))
            # The kernel lets go of the lock when this process dies, so a lock that is free marks a left-over.
            fcntl.flock(stack.enter_context(os.fdopen(descriptor)), fcntl.LOCK_EX)
        try:
            path.mkdir(mode=0o700)
            repository = Repository(path)
            repository.git("init", "--quiet")
            repository.git("remote", "add", "origin", origin.url)
            fetch(repository, origin, commit)
            if origin.admit:
                origin.admit(repository, commit)
            repository.git("-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", commit)
            if origin.dvc_config and origin.dvc_config.is_file() and (path / ".dvc").is_dir():
                shutil.copyfile(origin.dvc_config, path / ".dvc" / "config.local")
            yield Workspace(path, origin, repository, commit, configuration(path))
        finally:
            # Processes that a stage left running would write into the folder while it is removed.
            _end_processes_in(path)
            if path.exists():
                shutil.rmtree(path)
            lock_path.unlink()


def resolve(origin: Origin, ref: str, home: Path, *, mirror: Path | None = None) -> str:
    """The commit (40 hex digits) that `ref`, a branch of `origin`, names there now.

    With a `mirror`, the folder of a bare copy of `origin`, `ref` may also be the full id of a commit that a
    branch of `origin` contains. A server may give out more by its id: forks and closed pull requests.

    Raises:
        GitError: if `origin` cannot be reached, or has no such branch or commit.

    """
    if mirror is not None and is_full_sha(ref):
        copy = update_mirror(origin, mirror)
        if not copy.on_branch(origin.url, ref):
            raise GitError(f"{ref}: no branch of {origin.url} contains it; push a branch that does")
        return ref
    home.mkdir(parents=True, exist_ok=True)
    with origin.session():
        reference = f"refs/heads/{ref}"
        references = Repository(home).remote_refs(origin.url, reference)
    if reference not in references:
        raise GitError(f"{ref}: no such branch on {origin.url}; give a branch or a full commit id")
    return references[reference]


def update_mirror(origin: Origin, folder: Path, *, timeout: float = 300) -> Repository:
    """Bring the bare copy of `origin` in `folder` up to date; make it where it is missing.

    Args:
        origin: The repository.
        folder: The folder of the copy.
        timeout: The seconds of one attempt.

    Raises:
        GitError: if `origin` cannot be reached.

    """
    repository = Repository(folder)
    if incoming.size(folder) > _LARGEST_MIRROR:
        # Of branches that are gone, perhaps. The next fetch has a limit of its own.
        shutil.rmtree(folder)
    if not (folder / "HEAD").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        repository.git("init", "--quiet", "--bare", "--initial-branch=main")
    with origin.session():
        repository.fetch(origin.url, timeout=timeout)
    repository.git("-c", "gc.autoDetach=false", "gc", "--auto", "--quiet", timeout=300)
    return repository


def fetch(repository: Repository, origin: Origin, commit: str) -> None:
    """Bring one commit of `origin`, without its history, into `repository`."""
    with origin.session():
        repository.fetch_commit("origin", commit)


@contextmanager
def _alone_in(home: Path) -> Generator[None]:
    """Keep others from sweeping while a workspace exists but is not locked yet."""
    with (home / ".sweep").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sweep(home: Path) -> None:
    for lock_path in sorted(home.glob(f"*{_LOCK_SUFFIX}")):
        path = lock_path.with_name(lock_path.name.removesuffix(_LOCK_SUFFIX))
        with lock_path.open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _end_processes_in(path)
            if path.exists():
                shutil.rmtree(path)
            lock_path.unlink()
        log.warning("Removed %s, left behind by a process that was killed.", path)


def _works_in(process: psutil.Process, path: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(path)
    except psutil.AccessDenied:
        # Another user's, or one of ours that is hidden from its children: DVC, which names the folder.
        return any(f'"{path}"' in word for word in process.cmdline())


def _end_processes_in(path: Path) -> None:
    """End leftover processes: after a kill, `dvc repro` and the training below it would work for hours."""
    orphans: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _works_in(process, path):
                orphans.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # another user's process, or one that has just ended: not one of ours
    for process in orphans:
        log.warning("Ending process %d, an orphan that works in %s.", process.pid, path)
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(orphans, timeout=10)
