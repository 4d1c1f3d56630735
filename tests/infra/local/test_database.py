import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
from sqlalchemy.engine import make_url

from infra.local import database
from infra.local.database import Embedded, External
from infra.local.errors import EngineError
from infra.local.layout import Layout
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server in a folder that nobody but this user may enter, as a checkout in a home folder is."""
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    embedded = Embedded(Layout(home / "a folder with a space"))
    try:
        embedded.start()
        yield embedded
    finally:
        embedded.stop()


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    target = make_url(url)
    connection = psycopg2.connect(
        host=target.host,
        port=target.port,
        user=target.username,
        password=target.password,
        dbname=target.database,
    )
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def servers(embedded: Embedded) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and Path(process.cwd()) == embedded.data:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def test_it_runs_as_somebody_who_is_not_root_and_listens_here_alone(running: Embedded) -> None:
    process = running.service.find()
    assert process is not None
    assert process.uids().effective != 0
    listening = [item.laddr.ip for item in process.net_connections() if item.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    assert running.data.stat().st_mode & 0o077 == 0


def test_it_asks_for_the_password(running: Embedded) -> None:
    wrong = make_url(running.url("dev")).set(password="wrong", database="postgres")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query(wrong.render_as_string(hide_password=False), "SELECT 1")
    assert (running.folder / "connection.json").stat().st_mode & 0o777 == 0o600
    assert not (running.folder / "password").exists()


def test_starting_what_runs_changes_nothing(running: Embedded) -> None:
    before = running.service.find()
    assert running.start() == "running"
    assert running.service.find() == before


def test_a_database_is_created_once_and_copied_with_its_tables(running: Embedded) -> None:
    dev, staging = running.url("dev"), running.url("staging")
    for _ in range(2):
        database.create(dev)
    assert database.revision(dev) is None
    query(dev, "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('abc')")
    database.create(staging, like=dev)
    assert database.revision(staging) == "abc"


def test_a_database_in_use_is_not_copied_but_the_new_one_is_made(running: Embedded) -> None:
    dev, prod = running.url("dev"), running.url("prod")
    database.create(dev)
    target = make_url(dev)
    in_use = psycopg2.connect(
        host=target.host,
        port=target.port,
        user=target.username,
        password=target.password,
        dbname=target.database,
    )
    try:
        database.create(prod, like=dev)
    finally:
        in_use.close()
    assert database.revision(prod) is None
    assert query(prod, "SELECT 1") == [(1,)]


def test_after_a_kill_it_starts_again_with_what_was_committed(running: Embedded) -> None:
    database.create(running.url("dev"))
    query(running.url("dev"), "CREATE TABLE kept AS SELECT 7 AS number")
    query(running.url("dev"), "CHECKPOINT")
    process = running.service.find()
    assert process is not None
    process.send_signal(signal.SIGKILL)
    wait_for(lambda: running.service.find() is None)
    assert running.start() == "dead"
    assert query(running.url("dev"), "SELECT number FROM kept") == [(7,)]


def test_a_port_that_was_taken_meanwhile_is_given_up(running: Embedded) -> None:
    running.stop()
    assert servers(running) == []
    port = json.loads((running.folder / "connection.json").read_text())["port"]
    with socket.create_server(("127.0.0.1", port)):
        assert running.start() == "stopped"
    assert make_url(running.url("dev")).port != port


def test_an_interrupted_creation_is_done_again(tmp_path: Path) -> None:
    embedded = Embedded(Layout(tmp_path))
    (embedded.folder / "unfinished" / "base").mkdir(parents=True)
    try:
        embedded.start()
        assert embedded.service.find() is not None
    finally:
        assert embedded.stop() is True
    assert embedded.stop() is False


def test_the_files_of_another_version_are_named(tmp_path: Path) -> None:
    embedded = Embedded(Layout(tmp_path))
    embedded.data.mkdir(parents=True)
    (embedded.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(EngineError, match="made by PostgreSQL 12, and this is PostgreSQL 18"):
        embedded.start()


def test_root_without_setpriv_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"does not run as root, and setpriv .* is not installed"):
        Embedded(Layout(tmp_path)).start()


def test_a_server_that_is_named_gets_a_database_for_each_environment() -> None:
    external = External({"VISAGE_DATABASE_URL": "postgresql://me:p%40ss@db.example:5433/"})
    assert external.url("dev") == "postgresql+psycopg2://me:p%40ss@db.example:5433/visage_dev"
    assert external.url("prod").endswith("/visage_prod")
    named = External({"VISAGE_DATABASE_URL": "postgresql+psycopg2://me@host/team"})
    assert named.url("staging") == "postgresql+psycopg2://me@host/team_staging"


def test_an_environment_may_have_a_url_of_its_own() -> None:
    external = External({"VISAGE_DATABASE_URL_PROD": "postgresql+psycopg2://me@host/mine"})
    assert external.url("prod") == "postgresql+psycopg2://me@host/mine"
    with pytest.raises(EngineError, match="VISAGE_DATABASE_URL_DEV: not set"):
        external.url("dev")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nonsense", "not a URL"),
        ("sqlite:////tmp/x.db", "sqlite cannot serve"),
        ("mysql://u@h/d", "mysql cannot serve"),
    ],
)
def test_another_kind_of_database_is_refused(value: str, reason: str) -> None:
    with pytest.raises(EngineError, match=f"VISAGE_DATABASE_URL: {reason}"):
        External({"VISAGE_DATABASE_URL": value}).url("dev")


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EngineError) as caught:
        database.create(f"postgresql+psycopg2://me:hidden@127.0.0.1:{port}/visage_dev")
    assert "me:***@127.0.0.1" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_settings_choose_the_database(layout: Layout) -> None:
    assert isinstance(database.of(layout, {}), Embedded)
    assert isinstance(database.of(layout, {"VISAGE_DATABASE_URL_DEV": "x"}), External)
