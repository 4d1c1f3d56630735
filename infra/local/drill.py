"""A drill: a backup restored into a scratch folder, each part of it checked there, and a report.

A backup of the local engine has every part. That of one environment, as `scripts/backup.sh` writes it, has
git, the DVC remote and the keys only if they are on the same machine.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from gitops.dvc.objects import Objects
from gitops.errors import GitopsError
from gitops.git.repository import Repository
from gitops.paths import MAIN
from gitops.release import keys
from gitops.release.keys import PrivateKey
from gitops.release.load import load_state
from gitops.release.state import ReleaseState
from gitops.upkeep import doctor
from gitops.upkeep.content import contents
from gitops.upkeep.plan import Facts
from infra.local import backup, database, files
from infra.local.database import Embedded
from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.origin import Origin

_EVERYTHING = 1 << 62
_MOST = 3
_SCRATCH = "drill"
"""The name of the database into which that of a single environment is restored."""


@dataclass(frozen=True)
class Part:
    """The result of one part: its name, whether it is whole, and its numbers or its fault."""

    name: str
    ok: bool
    text: str


@dataclass(frozen=True)
class Drill:
    """The result of a drill."""

    at: str
    backup: str
    seconds: float
    ok: bool
    parts: tuple[Part, ...]

    @classmethod
    def read(cls, report: Path) -> "Drill | None":
        """Return the last drill that wrote a report, or None if there was none."""
        content = files.read_json(report)
        if content is None:
            return None
        return cls(**{**content, "parts": tuple(Part(**part) for part in content["parts"])})


def drill(
    source: Path, report: Path, *, scratch: Path | None = None, save: Callable[[], str] | None = None
) -> Drill:
    """Restore a backup into a scratch folder, check it there, remove the folder, and write the report.

    Args:
        source: The backup.
        report: The file for the report.
        scratch: The folder for the scratch folder; by default that for temporary files.
        save: Makes the backup first, if it is given.

    """
    began, parts = time.monotonic(), list[Part]()

    def part(name: str, check: Callable[[], str]) -> bool:
        try:
            parts.append(Part(name, True, check()))
        except (EngineError, GitopsError, OSError) as error:
            parts.append(Part(name, False, str(error)))
        return parts[-1].ok

    with tempfile.TemporaryDirectory(prefix="visage-drill-", dir=scratch) as temporary:
        layout = Layout(Path(temporary))
        if save is not None and not part("save", save):
            pass
        elif (source / backup.DATABASE).is_file():
            _one_environment(source, layout, part)
        elif part("restore", lambda: _restore(source, layout)):
            part("git", lambda: _git(layout))
            part("DVC remote", lambda: _storage(layout))
            for name in backup.environments(layout):
                part(f"keys of {name}", lambda name=name: _keys(layout, name))
            part("databases", lambda: _databases(layout))
    done = Drill(
        datetime.now(UTC).isoformat(timespec="seconds"),
        str(source),
        round(time.monotonic() - began, 1),
        all(one.ok for one in parts),
        tuple(parts),
    )
    files.write_json(report, asdict(done))
    return done


def _one_environment(source: Path, layout: Layout, part: Callable[[str, Callable[[], str]], bool]) -> None:
    there = {path.name for path in source.iterdir()}
    if not part("digests", lambda: _digests(source)):
        return
    if backup.HOME in there:
        part("data", lambda: _unpacked(source / backup.HOME, layout.checkout / "home"))
    if backup.BUNDLE in there and part("git", lambda: _git_of(source, layout)):
        if backup.STORE in there:
            part("DVC remote", lambda: _storage_of(source, layout))
        if backup.PRIVATE in there:
            part("key", lambda: _key_of(source, layout))
    part("database", lambda: _database(source, layout))


def _digests(source: Path) -> str:
    backup.check(source)
    return f"{sum(1 for path in source.iterdir()) - 1:,} files"


def _unpacked(archive: Path, folder: Path) -> str:
    backup.unpack(archive, folder)
    return f"{sum(1 for path in folder.rglob('*') if path.is_file()):,} files"


def _git_of(source: Path, layout: Layout) -> str:
    Origin(layout).restore(source / backup.BUNDLE)
    return _git(layout)


def _storage_of(source: Path, layout: Layout) -> str:
    backup.unpack(source / backup.STORE, layout.dvc_remote)
    Origin(layout).configure_dvc()
    return _storage(layout)


def _key_of(source: Path, layout: Layout) -> str:
    private = layout.checkout / "private"
    backup.unpack(source / backup.PRIVATE, private)
    repository, state = _state(layout)
    key = PrivateKey.load(private / "verifier_key")
    for name in state.environments:
        listed = repository.read(state.tip, keys.path_of(name)) or b""
        if key.line(name).split()[-1] in listed.split():
            return f"main lists it for {name}"
    raise GitopsError("main lists the key for no environment")


def _database(source: Path, layout: Layout) -> str:
    server = Embedded(layout)
    server.start()
    try:
        server.provide(_SCRATCH)
        server.load(_SCRATCH, source / backup.DATABASE)
        return f"{database.runs(server.url(_SCRATCH)):,} runs"
    finally:
        server.stop()


def _restore(source: Path, layout: Layout) -> str:
    backup.restore(source, layout)
    return f"{sum(1 for path in layout.state.rglob('*') if path.is_file()):,} files"


def _state(layout: Layout) -> tuple[Repository, ReleaseState]:
    repository = Repository(layout.origin)
    return repository, load_state(repository, main=MAIN)


def _git(layout: Layout) -> str:
    repository, state = _state(layout)
    repository.git("fsck", "--connectivity-only", "--no-dangling", "--no-progress", timeout=3600)
    if fault := state.main_fault:
        raise GitopsError(str(fault))
    for name in state.environments:
        state.declared(name)
    return f"main is {state.tip[:12]}, with {len(state.parents):,} commits"


def _storage(layout: Layout) -> str:
    """Read every object that the present release of each environment needs."""
    repository, state = _state(layout)
    releases = {name: [commit] for name in state.environments if (commit := _present(state, name))}
    # The settings of this machine name another remote
    config = layout.checkout / ".dvc" / "config.local"
    config.parent.mkdir()
    config.write_bytes((layout.dvc_config / "config").read_bytes())
    objects = Objects(layout.checkout)
    store = objects.store()
    commits = {commit for some in releases.values() for commit in some}
    facts = Facts(
        (),
        contents(repository, commits),
        {},
        forgotten=frozenset(state.main.forgotten.objects),
        folders=store.folders,
    )
    wanted = doctor.needs(facts, releases)
    found = doctor.examine(objects, wanted, store, most=_EVERYTHING, day=datetime.now(UTC).date())
    if found.faults:
        raise GitopsError("; ".join(map(str, found.faults[:_MOST])))
    return f"{found.read:,} objects of {len(commits)} releases read, {found.read_bytes:,} bytes"


def _present(state: ReleaseState, name: str) -> str | None:
    return state.tip if state.environments.follows(name) else state.present(name).commit


def _keys(layout: Layout, name: str) -> str:
    repository, state = _state(layout)
    key = PrivateKey.load(layout.paths_of(name).verifier_key)
    listed = repository.read(state.tip, keys.path_of(name)) or b""
    public = key.line(name).split()[-1]
    if public not in listed.split():
        raise GitopsError(f"{keys.path_of(name)} of main does not list the key")
    return "main lists the key"


def _databases(layout: Layout) -> str:
    server = Embedded(layout)
    server.start()
    try:
        found = {name: database.runs(server.url(name)) for name in backup.environments(layout)}
    finally:
        server.stop()
    return ", ".join(f"{count:,} runs of {name}" for name, count in found.items())
