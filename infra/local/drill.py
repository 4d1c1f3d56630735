"""A drill: a backup restored into a scratch folder, each part of it checked there, and a report."""

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

_EVERYTHING = 1 << 62
_MOST = 3


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


def drill(source: Path, report: Path, *, scratch: Path | None = None) -> Drill:
    """Restore a backup into a scratch folder, check it there, remove the folder, and write the report.

    Args:
        source: The backup.
        report: The file for the report.
        scratch: The folder for the scratch folder; by default that for temporary files.

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
        if part("restore", lambda: _restore(source, layout)):
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
