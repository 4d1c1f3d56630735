"""The servers of Debian's packages that several machines meet at; each starts with nothing in it."""

import os
import subprocess
from pathlib import Path

from infra.local import port
from tests.faults.server import Server

_NOBODY = 65534


def redis(folder: Path, log: Path, password: str) -> Server:
    """Make a Redis server that keeps nothing on disk."""
    number = port.unused()
    options = ["--bind", "127.0.0.1", "--port", str(number), "--requirepass", password]
    return Server(["redis-server", *options, "--save", "", "--dir", str(folder)], number, log)


def postgresql(folder: Path, log: Path) -> Server:
    """Make a PostgreSQL server with its data in `folder`, which has a user `airflow` without a password."""
    folder.mkdir()
    user: list[str] = []
    if os.geteuid() == 0:  # as whom it does not run
        os.chown(folder, _NOBODY, _NOBODY)
        user = ["setpriv", "--reuid", str(_NOBODY), "--regid", str(_NOBODY), "--clear-groups"]
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    make = [str(programs / "initdb"), "--pgdata", str(folder), "--username", "airflow", "--encoding", "UTF8"]
    subprocess.run(
        [*user, *make, "--auth", "trust", "--no-sync"], cwd="/", check=True, capture_output=True, timeout=120
    )
    number = port.unused()
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    command = [str(programs / "postgres"), "-D", str(folder), "-p", str(number)]
    return Server([*user, *command, *(f"--{key}={value}" for key, value in settings.items())], number, log)
