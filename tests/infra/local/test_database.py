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


def superuser(embedded: Embedded, name: str = "postgres") -> str:
    return embedded.superuser_url(name).render_as_string(hide_password=False)


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
    running.provide("dev")
    wrong = make_url(running.url("dev")).set(password="wrong", database="postgres")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query(wrong.render_as_string(hide_password=False), "SELECT 1")
    for name in ("connection.json", "roles.json"):
        assert (running.folder / name).stat().st_mode & 0o777 == 0o600
    assert not (running.folder / "password").exists()


def test_starting_what_runs_changes_nothing(running: Embedded) -> None:
    before = running.service.find()
    assert running.start() == "running"
    assert running.service.find() == before


def test_a_database_is_created_once_and_copied_with_its_tables(running: Embedded) -> None:
    dev, staging = running.url("dev"), running.url("staging")
    for _ in range(2):
        running.provide("dev")
    assert database.revision(dev) is None
    query(
        dev,
        "CREATE TYPE mood AS ENUM ('ok');"
        "CREATE TABLE alembic_version (id serial, version_num text, state mood);"
        "CREATE VIEW versions AS SELECT version_num FROM alembic_version; CREATE SEQUENCE numbers;"
        "INSERT INTO alembic_version (version_num) VALUES ('abc')",
    )
    running.provide("staging", like="dev")
    assert database.revision(staging) == "abc"
    owners = (
        "SELECT relname, relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    )
    assert {owner for _, owner in query(staging, owners)} == {"visage_staging"}
    assert {owner for _, owner in query(dev, owners)} == {"visage_dev"}
    query(staging, "ALTER TABLE alembic_version ADD COLUMN later text; ALTER TYPE mood ADD VALUE 'better'")


def test_a_database_in_use_is_not_copied_but_the_new_one_is_made(running: Embedded) -> None:
    running.provide("dev")
    target = make_url(running.url("dev"))
    in_use = psycopg2.connect(
        host=target.host,
        port=target.port,
        user=target.username,
        password=target.password,
        dbname=target.database,
    )
    try:
        running.provide("qa", like="dev")
    finally:
        in_use.close()
    assert database.revision(running.url("qa")) is None
    assert query(running.url("qa"), "SELECT 1") == [(1,)]


def test_an_environment_reads_no_other_environment_s_database(running: Embedded) -> None:
    for name in ("dev", "prod"):
        running.provide(name)
    query(running.url("prod"), "CREATE TABLE IF NOT EXISTS dag_run (id int)")
    for other in ("visage_prod", "postgres", "template1"):
        url = make_url(running.url("dev")).set(database=other)
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            query(url.render_as_string(hide_password=False), "SELECT 1")


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 'x') TO PROGRAM 'cat > {folder}/written'",
        "COPY (SELECT 'x') TO '{folder}/written'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
        "SELECT lo_import('/etc/passwd')",
        "CREATE EXTENSION file_fdw",
        "CREATE ROLE eve SUPERUSER",
        "ALTER ROLE visage_dev SUPERUSER",
        "SET ROLE visage",
        "SET ROLE visage_prod",
        "SET SESSION AUTHORIZATION visage",
        "ALTER SYSTEM SET archive_command = 'touch {folder}/written'",
        "GRANT pg_execute_server_program TO visage_dev",
        "CREATE FUNCTION f() RETURNS int AS 'libc', 'system' LANGUAGE c",
        "LOAD '/tmp/x.so'",
    ],
)
def test_an_environment_s_role_reaches_no_file_program_or_other_role(
    running: Embedded, tmp_path: Path, statement: str
) -> None:
    for name in ("dev", "prod"):
        running.provide(name)
    tmp_path.chmod(0o777)
    with pytest.raises(psycopg2.Error) as caught:
        query(running.url("dev"), statement.format(folder=tmp_path))
    assert caught.value.pgcode in ("42501", "58P01", "0A000"), caught.value
    assert list(tmp_path.iterdir()) == []
    roles = "SELECT rolname FROM pg_roles WHERE rolsuper OR rolreplication OR rolbypassrls"
    assert query(running.url("dev"), roles) == [("visage",)]


def test_the_database_of_an_earlier_version_is_handed_over(running: Embedded) -> None:
    """There every environment used the superuser."""
    before = superuser(running)
    query(before, "CREATE DATABASE visage_old")
    inside = superuser(running, "visage_old")
    query(inside, "CREATE TABLE kept AS SELECT 7 AS number")
    running.provide("old")
    assert query(running.url("old"), "ALTER TABLE kept ADD COLUMN more int; SELECT number FROM kept") == [
        (7,)
    ]


def test_a_server_of_one_s_own_gets_a_role_for_each_environment(running: Embedded, layout: Layout) -> None:
    """Also by a login that is no superuser."""
    query(
        superuser(running),
        "CREATE ROLE admin LOGIN CREATEDB CREATEROLE PASSWORD 'secret';"  # pragma: allowlist secret
        "GRANT CONNECT ON DATABASE postgres TO admin",
    )
    server = running.superuser_url("team").set(username="admin", password="secret")
    external = External(layout, {"VISAGE_DATABASE_URL": server.render_as_string(hide_password=False)})
    for _ in range(2):
        for name in ("dev", "prod"):
            external.provide(name)
    assert "team_prod" in external.url("prod")
    query(external.url("prod"), "CREATE TABLE dag_run (id int)")
    prod = make_url(external.url("dev")).set(database="team_prod").render_as_string(hide_password=False)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        query(prod, "SELECT 1")


def test_an_environment_s_own_login_is_no_superuser(running: Embedded, layout: Layout) -> None:
    running.provide("dev")
    url = superuser(running, "visage_dev")
    with pytest.raises(EngineError, match="visage is a superuser, and could read the database of each"):
        External(layout, {"VISAGE_DATABASE_URL_DEV": url}).provide("dev")
    External(layout, {"VISAGE_DATABASE_URL_DEV": running.url("dev")}).provide("dev")


def test_after_a_kill_it_starts_again_with_what_was_committed(running: Embedded) -> None:
    running.provide("dev")
    query(running.url("dev"), "CREATE TABLE kept AS SELECT 7 AS number")
    query(superuser(running), "CHECKPOINT")
    process = running.service.find()
    assert process is not None
    process.send_signal(signal.SIGKILL)
    wait_for(lambda: running.service.find() not in (None, process))
    assert running.start() == "running"
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


def test_a_server_that_is_named_gets_a_database_for_each_environment(layout: Layout) -> None:
    external = External(layout, {"VISAGE_DATABASE_URL": "postgresql://me:p%40ss@db.example:5433/"})
    dev = make_url(external.url("dev"))
    assert (dev.drivername, dev.host, dev.port) == ("postgresql+psycopg2", "db.example", 5433)
    assert (dev.username, dev.database) == ("visage_dev", "visage_dev")
    assert dev.password not in (None, "p@ss", make_url(external.url("prod")).password)
    assert external.url("dev") == dev.render_as_string(hide_password=False)
    named = External(layout, {"VISAGE_DATABASE_URL": "postgresql+psycopg2://me@host/team"})
    assert named.url("staging").endswith("/team_staging")


def test_an_environment_may_have_a_url_of_its_own(layout: Layout) -> None:
    external = External(layout, {"VISAGE_DATABASE_URL_PROD": "postgresql+psycopg2://me@host/mine"})
    assert external.url("prod") == "postgresql+psycopg2://me@host/mine"
    with pytest.raises(EngineError, match="VISAGE_DATABASE_URL_DEV: not set"):
        external.url("dev")


def test_two_environments_have_no_login_in_common(layout: Layout) -> None:
    same = {f"VISAGE_DATABASE_URL_{name}": f"postgresql://me@host/{name}" for name in ("DEV", "PROD")}
    with pytest.raises(
        EngineError, match="VISAGE_DATABASE_URL_DEV: the same login as VISAGE_DATABASE_URL_PROD"
    ):
        External(layout, same).url("dev")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nonsense", "not a URL"),
        ("sqlite:////tmp/x.db", "sqlite cannot serve"),
        ("mysql://u@h/d", "mysql cannot serve"),
    ],
)
def test_another_kind_of_database_is_refused(layout: Layout, value: str, reason: str) -> None:
    with pytest.raises(EngineError, match=f"VISAGE_DATABASE_URL: {reason}"):
        External(layout, {"VISAGE_DATABASE_URL": value}).url("dev")


@pytest.mark.parametrize("name", ["VISAGE_DATABASE_URL", "VISAGE_DATABASE_URL_DEV"])
def test_a_server_that_does_not_answer_is_named_without_its_password(layout: Layout, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EngineError) as caught:
        External(layout, {name: f"postgresql://me:hidden@127.0.0.1:{port}/visage_dev"}).provide("dev")
    assert "me:***@127.0.0.1" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_settings_choose_the_database(layout: Layout) -> None:
    assert isinstance(database.of(layout, {}), Embedded)
    assert isinstance(database.of(layout, {"VISAGE_DATABASE_URL_DEV": "x"}), External)
