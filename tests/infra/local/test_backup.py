"""A backup of the engine, its restore and its drill, with real git, DVC and PostgreSQL."""

import contextlib
import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from gitops.paths import MAIN
from gitops.people.backups import Backup
from infra.local import backup, database, secret
from infra.local.database import Embedded
from infra.local.drill import Drill, drill
from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.origin import Origin
from infra.local.process import belonging, end
from infra.local.schedule import Schedule
from infra.local.weekly import due, save_and_drill
from tests.support.checkout import make_checkout
from tests.support.figures import model_files, model_md5
from tests.support.waiting import wait_for

NAMES = ("dev", "staging")


def execute(url: str, statement: str) -> None:
    target = make_url(url)
    place = {"host": target.host, "port": target.port, "user": target.username, "password": target.password}
    connection = psycopg2.connect(dbname=target.database, **place)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """An engine with a model that dev and staging have, and runs in their databases."""
    layout = Layout(make_checkout(tmp_path_factory.mktemp("engine") / "checkout"))
    layout.state.mkdir(mode=0o700)
    origin = Origin(layout)
    origin.prepare()
    origin.enrol(NAMES)
    origin.configure_dvc()
    server = Embedded(layout)
    server.start()
    try:
        repository = origin.repository
        commit = repository.commit_files(repository.resolve(MAIN), dict(model_files("a")), "Model")
        release = {"environments/staging/release.yaml": f"commit: {commit}\n".encode()}
        repository.git("update-ref", MAIN, repository.commit_files(commit, release, "Promote"))
        model = layout.dvc_remote / "files" / "md5" / model_md5("a")[:2] / model_md5("a")[2:]
        model.parent.mkdir(parents=True)
        model.write_bytes(b"a")
        for number, name in enumerate(NAMES):
            paths = layout.paths_of(name)
            secret.load(paths.secrets)
            server.provide(name)
            execute(server.url(name), "CREATE TABLE dag_run (id serial PRIMARY KEY, state text)")
            execute(server.url(name), "INSERT INTO dag_run (state) VALUES ('a'), ('b')")
            if number:
                execute(server.url(name), "INSERT INTO dag_run (state) VALUES ('c')")
            (paths.data / "scores").mkdir(parents=True)
            (paths.data / "scores" / "a.parquet").write_bytes(name.encode())
            (paths.data / "workspaces" / "x").mkdir(parents=True)
            (paths.data / "workspaces" / "x" / "large").write_bytes(b"of a step")
        yield layout
    finally:
        server.stop()
        end(belonging(layout.state), grace=0)


@pytest.fixture(scope="module")
def saved(engine: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backups")
    with contextlib.chdir(folder):
        backup.save(engine, Path("monday"))
    return folder / "monday"


def copy(saved: Path, folder: Path) -> Path:
    target = folder / "backup"
    for path in saved.rglob("*"):
        if path.is_file():
            (target / path.relative_to(saved)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(saved)).write_bytes(path.read_bytes())
    return target


def sign(folder: Path) -> None:
    """Give the files of a backup the digests that they have now."""
    for sums in folder.rglob(backup.SUMS):
        sign_one(sums.parent)


def sign_one(folder: Path) -> None:
    files = [path for path in folder.iterdir() if path.is_file() and path.name != backup.SUMS]
    rows = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / backup.SUMS).write_text("".join(rows))


@pytest.mark.long
def test_a_restore_has_everything_of_the_engine(engine: Layout, saved: Path, tmp_path: Path) -> None:
    assert saved.stat().st_mode & 0o077 == 0
    layout = Layout(tmp_path / "again")
    layout.checkout.mkdir()
    with contextlib.chdir(saved.parent):
        backup.restore(Path(saved.name), layout)
    before, after = Origin(engine).repository, Origin(layout).repository
    listed = ("for-each-ref", "--format=%(objectname) %(refname)")
    assert after.git(*listed) == before.git(*listed)
    assert after.git("config", "receive.fsckObjects") == "true"
    assert layout.trust_root.read_text() == engine.trust_root.read_text()
    for name in NAMES:
        mine, theirs = layout.paths_of(name), engine.paths_of(name)
        assert mine.secrets.read_bytes() == theirs.secrets.read_bytes()
        assert mine.verifier_key.stat().st_mode & 0o077 == 0
        assert (mine.data / "scores" / "a.parquet").read_bytes() == name.encode()
        assert not (mine.data / "workspaces").exists()
    server = Embedded(layout)
    server.start()
    try:
        assert [database.runs(server.url(name)) for name in NAMES] == [2, 3]
        # The role of the environment owns its tables
        execute(server.url("dev"), "INSERT INTO dag_run (state) VALUES ('new')")
    finally:
        server.stop()
    with pytest.raises(EngineError, match="no part is missing"):
        backup.restore(saved, layout)
    with pytest.raises(EngineError, match="exists"):
        backup.save(engine, saved)


@pytest.mark.long
def test_a_drill_checks_every_part_and_leaves_nothing(saved: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = drill(saved, tmp_path / "drill.json", scratch=scratch)
    assert done.ok, done.parts
    names = ["restore", "git", "DVC remote", "keys of dev", "keys of staging", "databases"]
    assert [part.name for part in done.parts] == names
    assert done.parts[2].text.startswith("1 objects of ")
    assert done.parts[-1].text == "2 runs of dev, 3 runs of staging"
    assert json.loads((tmp_path / "drill.json").read_text())["ok"] is True
    assert list(scratch.iterdir()) == []


@pytest.mark.long
def test_a_forget_writes_a_backup_that_can_be_restored(saved: Path, tmp_path: Path) -> None:
    source = copy(saved, tmp_path)
    with Backup.opened([source, source / "dev"]) as opened:
        for one in opened:
            (one.folder / "scores" / "a.parquet").unlink(missing_ok=True)
            one.repack()
    layout = Layout(tmp_path / "again")
    layout.checkout.mkdir()
    backup.restore(source, layout)
    assert not (layout.paths_of("dev").data / "scores" / "a.parquet").exists()
    assert (layout.paths_of("staging").data / "scores" / "a.parquet").exists()


@pytest.mark.long
def test_a_drill_names_what_a_backup_lacks(saved: Path, tmp_path: Path) -> None:
    source = copy(saved, tmp_path)
    with tarfile.open(source / backup.STORE, "w"):
        pass
    (source / "dev" / backup.PRIVATE).write_bytes((source / "staging" / backup.PRIVATE).read_bytes())
    sign(source)
    done = drill(source, tmp_path / "drill.json")
    faults = {part.name: part.text for part in done.parts if not part.ok}
    assert not done.ok
    assert set(faults) == {"DVC remote", "keys of dev"}
    assert f"({model_md5('a')}): missing" in faults["DVC remote"]
    assert "does not list the key" in faults["keys of dev"]


def flat(saved: Path, folder: Path, *parts: str) -> Path:
    """Make a backup of staging alone, as that of Docker Compose or Kubernetes."""
    folder.mkdir()
    for part in parts:
        own = saved / "staging" / part
        shutil.copy(own if own.exists() else saved / part, folder / part)
    sign_one(folder)
    return folder


@pytest.mark.long
def test_a_drill_takes_the_backup_of_one_environment(saved: Path, tmp_path: Path) -> None:
    common, own = (backup.BUNDLE, backup.STORE), (backup.DATABASE, backup.HOME, backup.PRIVATE)
    done = drill(flat(saved, tmp_path / "compose", *common, *own), tmp_path / "drill.json")
    assert {part.name: part.text for part in done.parts if part.name not in ("git", "DVC remote")} == {
        "digests": "5 files",
        "data": "1 files",
        "key": "main lists it for staging",
        "database": "3 runs",
    }
    assert done.ok, done.parts
    assert len(done.parts) == 6
    there = drill(flat(saved, tmp_path / "kubernetes", backup.DATABASE, backup.HOME), tmp_path / "drill.json")
    assert there.ok, there.parts
    assert [part.name for part in there.parts] == ["digests", "data", "database"]


@pytest.mark.long
def test_a_drill_names_what_the_backup_of_one_environment_lacks(saved: Path, tmp_path: Path) -> None:
    common, own = (backup.BUNDLE, backup.STORE), (backup.DATABASE, backup.HOME, backup.PRIVATE)
    source = flat(saved, tmp_path / "backup", *common, *own)
    for name in (backup.STORE, backup.PRIVATE):
        with tarfile.open(source / name, "w"):
            pass
    (source / backup.DATABASE).write_bytes((source / backup.DATABASE).read_bytes()[:500])
    sign_one(source)
    done = drill(source, tmp_path / "drill.json")
    faults = {part.name: part.text for part in done.parts if not part.ok}
    assert set(faults) == {"DVC remote", "key", "database"}
    assert "pg_restore" in faults["database"]
    (source / backup.HOME).unlink()
    assert "home.tar: missing" in drill(source, tmp_path / "drill.json").parts[0].text


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [backup.BUNDLE, backup.STORE, f"dev/{backup.DATABASE}", f"dev/{backup.HOME}"]
)
def test_a_damaged_backup_is_not_restored(saved: Path, tmp_path: Path, name: str) -> None:
    source = copy(saved, tmp_path)
    (source / name).write_bytes((source / name).read_bytes()[:-1] + b"?")
    done = drill(source, tmp_path / "drill.json")
    assert [part.name for part in done.parts] == ["restore"]
    assert f"{name}: damaged" in done.parts[0].text
    (source / name).unlink()
    assert "missing" in drill(source, tmp_path / "drill.json").parts[0].text


@pytest.mark.long
def test_the_part_that_was_lost_comes_back_and_the_others_stay(saved: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "again")
    layout.checkout.mkdir()
    assert backup.restore(saved, layout) == [
        "DVC remote",
        *("data of dev", "keys of dev", "data of staging", "keys of staging"),
        *("database of dev", "database of staging"),
        "git",
    ]
    newer = layout.paths_of("dev").data / "scores" / "newer.parquet"
    newer.write_bytes(b"after the backup")
    for lost, parts in (
        (layout.origin, ["git"]),
        (layout.dvc_remote, ["DVC remote"]),
        (layout.database / "data", ["database of dev", "database of staging"]),
        (layout.paths_of("staging").data, ["data of staging"]),
        (layout.paths_of("staging").secrets, ["keys of staging"]),
    ):
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
        assert backup.restore(saved, layout) == parts
        assert lost.exists()
    assert newer.exists()
    server = Embedded(layout)
    server.start()
    try:
        assert database.runs(server.url("staging")) == 3
        with pytest.raises(EngineError, match="the engine is up") as refused:
            backup.restore(saved, layout)
        assert refused.value.next_command == "make down"
    finally:
        server.stop()


@pytest.mark.long
def test_a_restore_that_was_killed_goes_on(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path / "again")
    layout.checkout.mkdir()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for owner, name in ((backup, "unpack"), (Embedded, "load"), (Origin, "restore")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killed)
            with pytest.raises(KeyboardInterrupt):
                backup.restore(saved, layout)
    assert backup.restore(saved, layout) == ["git"]
    assert drill(saved, tmp_path / "drill.json").ok
    server = Embedded(layout)
    server.start()
    try:
        assert [database.runs(server.url(name)) for name in NAMES] == [2, 3]
    finally:
        server.stop()


NOW = datetime(2026, 11, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(("ok", "days", "expected"), [(True, 6, False), (True, 7, True), (False, 1, True)])
def test_a_backup_is_due_after_a_week_and_after_a_fault_the_next_day(
    ok: bool, days: int, expected: bool
) -> None:
    last = Drill((NOW - timedelta(days=days)).isoformat(), "", 1.0, ok, ())
    assert due(last, NOW) is expected
    assert due(None, NOW) is True


@pytest.mark.long
def test_a_weekly_backup_keeps_the_newest_whole_ones_and_reports_a_fault(
    engine: Layout, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    for day in range(4):
        (folder / f"2026-10-0{day + 1}T030000Z").mkdir(parents=True)
    for left in ("visage-drill-killed", "2026-10-05T030000Z.partial", "2026-10-05T030000Z.faulty", "mine"):
        (folder / left).mkdir()
    assert save_and_drill(engine, folder, NOW).ok
    whole = [f"2026-10-0{day}T030000Z" for day in (2, 3, 4)]
    assert sorted(path.name for path in folder.iterdir()) == [
        *whole,
        "2026-10-05T030000Z.faulty",
        "2026-11-01T030000Z",
        "mine",
    ]
    model = engine.dvc_remote / "files" / "md5" / model_md5("a")[:2] / model_md5("a")[2:]
    model.unlink()
    try:
        assert not save_and_drill(engine, folder, NOW + timedelta(days=7)).ok
    finally:
        model.write_bytes(b"a")
    last = Drill.read(engine.weekly)
    assert last is not None
    assert [part.name for part in last.parts if not part.ok] == ["DVC remote"]
    assert sorted(path.name for path in folder.iterdir()) == [
        *whole,
        "2026-11-01T030000Z",
        "2026-11-08T030000Z.faulty",
        "mine",
    ]


@pytest.mark.long
def test_the_engine_saves_by_itself_where_a_setting_names_a_folder(engine: Layout, tmp_path: Path) -> None:
    schedule = Schedule(engine)
    engine.weekly.unlink(missing_ok=True)
    assert schedule.last() is None
    try:
        schedule.provide(str(tmp_path / "backups"), {})
        first = schedule.service.find()
        wait_for(lambda: schedule.last() is not None, seconds=300)
        last = schedule.last()
        assert last is not None
        assert last.ok, last.parts
        assert Path(last.backup).parent == tmp_path / "backups"
        schedule.provide(str(tmp_path / "backups"), {})
        assert schedule.service.find() == first
        schedule.provide(str(tmp_path / "elsewhere"), {})
        assert schedule.service.find() != first
        schedule.provide(None, {})
        assert schedule.service.find() is None
    finally:
        schedule.service.stop()


@pytest.mark.long
def test_a_drill_that_is_stopped_leaves_no_process_and_no_folder(engine: Layout, tmp_path: Path) -> None:
    schedule = Schedule(engine)
    folder = tmp_path / "backups"
    engine.weekly.unlink(missing_ok=True)
    schedule.provide(str(folder), {})
    wait_for(lambda: any(folder.glob("visage-drill-*/.visage/processes/database.json")), seconds=300)
    [scratch] = folder.glob("visage-drill-*/.visage")
    wait_for(lambda: belonging(scratch), seconds=60)
    schedule.service.stop()
    assert belonging(scratch) == []
    assert not scratch.exists()
