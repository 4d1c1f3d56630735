"""A backup of the engine: git, the DVC remote, and the database, the keys and the data of each environment.

The files have the names of those that `scripts/backup.sh` writes, those of an environment in a folder of its
name. `restore` puts back the parts of an engine that are not there.
"""

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from gitops.git.repository import Repository
from gitops.private import private_folder
from infra.local import files
from infra.local.database import Embedded
from infra.local.errors import EngineError
from infra.local.layout import EnvironmentPaths, Layout
from infra.local.origin import Origin
from infra.local.process import belonging

SUMS = "SHA256SUMS"
BUNDLE, STORE, TRUST_ROOT = "origin.bundle", "store.tar", "trust-root"
DATABASE, HOME, PRIVATE = "database.dump", "home.tar", "private.tar"
_WORKSPACES = "workspaces"


def environments(layout: Layout) -> list[str]:
    """Return the environments that the engine has."""
    return sorted(path.parent.name for path in layout.state.glob("*/secrets.json"))


def save(layout: Layout, target: Path) -> None:
    """Write a backup into a new folder. The environments may be up.

    Raises:
        EngineError: The folder exists, or there is no engine.

    """
    target = target.resolve()  # the programs of PostgreSQL run elsewhere
    if target.exists():
        raise EngineError(f"{target}: exists; name another folder")
    if not layout.origin.is_dir():
        raise EngineError(f"{layout.state}: no engine to save", command="make up")
    if not (layout.database / "data").is_dir():
        raise EngineError(
            f"{layout.database}: the database is on another server; save it with that server's tools"
        )
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    private_folder(partial)
    with _running(layout) as database:
        for name in environments(layout):
            paths, folder = layout.paths_of(name), private_folder(partial / name)
            database.dump(name, folder / DATABASE)
            _pack(folder / PRIVATE, paths.root, lambda path, own=paths: path in _private(own))
            _pack(folder / HOME, paths.data, lambda path: _WORKSPACES not in path.parts)
    # Git before the store: everything that git names was in the store before.
    Repository(layout.origin).git("bundle", "create", "--quiet", str(partial / BUNDLE), "--all")
    _pack(partial / STORE, layout.dvc_remote, lambda _: True)
    if layout.trust_root.is_file():
        shutil.copy(layout.trust_root, partial / TRUST_ROOT)
    for folder in _folders(partial):
        files.write(folder / SUMS, "".join(f"{_sha256(path)}  {path.name}\n" for path in _files(folder)))
    partial.rename(target)


def check(source: Path) -> None:
    """Compare each file of a backup with its digest.

    Raises:
        EngineError: One is missing, damaged, or not listed.

    """
    if not (source / SUMS).is_file():
        raise EngineError(f"{source}: no backup; it has no {SUMS}")
    for folder in _folders(source):
        sums = folder / SUMS
        rows = [line.split("  ", 1) for line in sums.read_text().splitlines()] if sums.is_file() else []
        listed = {name: digest for digest, name in rows}
        if unlike := sorted(listed.keys() ^ ({path.name for path in _files(folder)} - {SUMS})):
            raise EngineError(f"{folder / unlike[0]}: missing, or not in {SUMS}; use another backup")
        for name, digest in listed.items():
            if _sha256(folder / name) != digest:
                raise EngineError(f"{folder / name}: damaged; use another backup")


def restore(source: Path, layout: Layout) -> list[str]:
    """Put back the parts of an engine that are not there, while it is down; return their names.

    A restore that was killed goes on when it runs again.

    Raises:
        EngineError: The backup is damaged, the engine is up, or no part is missing.

    """
    source = source.resolve()
    check(source)
    if belonging(layout.state):
        raise EngineError("the engine is up", command="make down")
    private_folder(layout.state)
    origin = Origin(layout)
    restored = [
        *_place(source / STORE, layout.dvc_remote, "DVC remote"),
        *(
            part
            for folder in sorted(source.glob(f"*/{HOME}"))
            for part in _environment(folder.parent, layout)
        ),
        *_databases(source, layout),
    ]
    if (source / TRUST_ROOT).is_file() and not layout.trust_root.exists():
        shutil.copy(source / TRUST_ROOT, layout.trust_root)
    if not layout.origin.exists():
        origin.restore(source / BUNDLE)
        restored.append("git")
    if not restored:
        raise EngineError(
            f"{layout.state}: no part is missing; move the one away that you want from the backup"
        )
    origin.configure_dvc()
    return restored


def _environment(source: Path, layout: Layout) -> Iterator[str]:
    paths = layout.paths_of(source.name)
    private_folder(paths.root)
    yield from _place(source / HOME, paths.data, f"data of {source.name}")
    if not paths.secrets.exists():
        # The one that decides comes last
        with tempfile.TemporaryDirectory(dir=paths.root) as folder:
            unpack(source / PRIVATE, Path(folder))
            for path in sorted(_private(paths), key=paths.secrets.__eq__):
                if (fresh := Path(folder) / path.name).is_file():
                    fresh.replace(path)
        yield f"keys of {source.name}"


def _databases(source: Path, layout: Layout) -> list[str]:
    data, mark = layout.database / "data", layout.database / "restoring"
    if data.is_dir() and not mark.exists():
        return []
    if data.is_dir():
        shutil.rmtree(data)
    layout.database.mkdir(exist_ok=True)
    mark.touch()
    names = sorted(path.parent.name for path in source.glob(f"*/{DATABASE}"))
    with _running(layout) as database:
        for name in names:
            database.provide(name)
            database.load(name, source / name / DATABASE)
    mark.unlink()
    return [f"database of {name}" for name in names]


def _place(archive: Path, folder: Path, part: str) -> list[str]:
    """Unpack an archive to a folder, unless there is something in it."""
    if folder.is_dir() and any(folder.iterdir()):
        return []
    partial = folder.with_name(f"{folder.name}.restoring")
    shutil.rmtree(partial, ignore_errors=True)
    unpack(archive, partial)
    if folder.is_dir():
        folder.rmdir()
    partial.rename(folder)
    return [part]


@contextmanager
def _running(layout: Layout) -> Generator[Embedded]:
    """Yield the database of an engine, running; stop it in the end if it was not running before."""
    database = Embedded(layout)
    before = database.start()
    try:
        yield database
    finally:
        if before != "running":
            database.stop()


def _private(paths: EnvironmentPaths) -> tuple[Path, ...]:
    return (paths.secrets, paths.verifier_key, paths.passwords)


def _pack(archive: Path, folder: Path, wanted: Callable[[Path], bool]) -> None:
    with tarfile.open(archive, "w") as content:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if wanted(path) and not path.is_dir():
                try:
                    content.add(path, path.relative_to(folder).as_posix(), recursive=False)
                except FileNotFoundError:
                    continue  # a task removed it meanwhile


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a part of a backup.

    Raises:
        EngineError: It is damaged, or has a file that would land elsewhere.

    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise EngineError(f"{archive}: cannot be unpacked: {error}") from error


def _folders(backup: Path) -> list[Path]:
    """Return the folders of a backup, each of which has a list of digests: its own, and the environments'."""
    return [backup, *(path for path in sorted(backup.iterdir()) if path.is_dir())]


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file()]


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
