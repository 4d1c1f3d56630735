"""Check that the process of this container works. Prints the reason and exits with status 1 if it does not.

    heartbeat.py SchedulerJob|DagProcessorJob|TriggererJob|api-server|serving|worker
                 [--dags] [--writes FOLDER...] [--secrets FOLDER]

The first three report to the database; the api-server and the online service answer on their ports. For a
worker, only the options count:

    --dags      the dag-processor has read the release lately, and has DAGs if the release has DAGs
    --writes    the container can write to these folders
    --secrets   the Secrets, mounted in this folder, have the values that the process was started with. A
                liveness probe with this option restarts the container after a change.

It replaces `airflow jobs check --local`, which takes seconds to load Airflow for each check. It runs several
times a minute beside each process, so it imports little.
"""

import argparse
import http.client
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import psycopg2

FRESH = timedelta(seconds=60)
READ = timedelta(minutes=10)
"""Airflow reads the release every few seconds. Git may be away for a while, and the DAGs stay."""
_LATEST = """
SELECT latest_heartbeat FROM job
WHERE job_type = %s AND hostname = %s AND state = 'running'
ORDER BY latest_heartbeat DESC LIMIT 1
"""
_READ = "SELECT max(last_refreshed) FROM dag_bundle WHERE active"
_DAGS = "SELECT count(*) FROM dag WHERE NOT is_stale"
_URL = re.compile(
    r"[\w+]+://(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?"
)
PAGES = {
    "api-server": ("AIRFLOW__API__PORT", "8080", "/api/v2/version"),
    "serving": ("SERVING_PORT", "8180", "/healthz"),
}
_SERVING = Path("release/release.json")


def address(url: str) -> dict[str, str]:
    """Return the arguments of a connection. SQLAlchemy reads a URL in the same way, but takes long to load.

    Raises:
        ValueError: It is no URL of a database.

    """
    match = _URL.match(url)
    if match is None:
        raise ValueError("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: not the URL of a database")
    parts = match.groupdict("")
    found = {name: unquote(parts[name]) for name in ("user", "password", "dbname")}
    found |= {
        "host": parts["ipv6"] or parts["host"],
        "port": parts["port"],
        **dict(parse_qsl(parts["query"])),
    }
    return {name: value for name, value in found.items() if value}


@contextmanager
def connected(database: str) -> Iterator[Any]:
    """Yield a cursor of the database.

    Raises:
        psycopg2.OperationalError: The database does not answer.

    """
    connection = psycopg2.connect(**{"connect_timeout": 5, **address(database)})
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def trouble(job: str, database: str, now: datetime) -> str | None:
    """Return why the job of this host does not seem alive, or None if it is alive."""
    try:
        with connected(database) as cursor:
            cursor.execute(_LATEST, (job, socket.gethostname()))
            row = cursor.fetchone()
    except (psycopg2.OperationalError, ValueError) as error:
        return f"the database does not answer: {str(error).strip().splitlines()[0]}"
    if row is None:
        return f"{job}: has not reported from {socket.gethostname()} yet"
    age = now - row[0]
    return None if age < FRESH else f"{job}: reported last {age.total_seconds():.0f} s ago"


def without_dags(database: str, bundles: Path, now: datetime) -> str | None:
    """Return why the dag-processor has no current DAGs, or None if it has them, or needs none."""
    try:
        with connected(database) as cursor:
            cursor.execute(_READ)
            (read,) = cursor.fetchone()
            cursor.execute(_DAGS)
            (dags,) = cursor.fetchone()
    except (psycopg2.OperationalError, ValueError) as error:
        return f"the database does not answer: {str(error).strip().splitlines()[0]}"
    if read is None:
        return "the release has not been read from git yet; the log of the dag-processor has the reason"
    if now - read > READ:
        return f"the release was last read from git {(now - read).total_seconds():.0f} s ago"
    try:
        served = json.loads((bundles / _SERVING).read_text())["commit"]
    except (OSError, ValueError, LookupError) as error:
        return f"{bundles / _SERVING}: {type(error).__name__}; the dag-processor writes it"
    if served and not dags:
        return (
            f"release {served[:12]} has no DAG that can be read; the log of the dag-processor has the reason"
        )
    return None


def unwritable(folders: Iterable[Path]) -> str | None:
    """Return which folder this process cannot write to, or None."""
    for folder in folders:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return (
                f"{folder}: {error.strerror}: user {os.getuid()} of group {os.getgid()} must be able to "
                f"write here; run in the volume: chown -R {os.getuid()}:{os.getgid()} ."
            )
    return None


def changed_secret(folder: Path, environ: Mapping[str, str], started: float) -> str | None:
    """Return which variable of a mounted Secret has another value since the process started, or None.

    A value that differed before is one that a ConfigMap replaces, so another start would change nothing.
    """
    for file in sorted(folder.iterdir()):
        if file.name not in environ or file.stat().st_mtime <= started:
            continue
        if file.read_bytes() != os.fsencode(environ[file.name]):
            return f"{file.name}: has another value now; the process has to start again"
    return None


def start_of_container() -> float:
    """Return the time, in seconds since 1970, at which the first process of this container started."""
    ticks = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")


def unanswered(port: int, path: str) -> str | None:
    """Return why the web server of this container does not answer, or None if it does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=50)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"port {port}: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"port {port}: answers with status {status}"


def main(arguments: list[str]) -> int:
    """Make the checks that the command line names, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    choices = ("SchedulerJob", "DagProcessorJob", "TriggererJob", *PAGES, "worker")
    parser.add_argument("job", choices=choices, metavar="JOB")
    parser.add_argument("--dags", action="store_true")
    parser.add_argument("--writes", type=Path, nargs="*", default=[])
    parser.add_argument("--secrets", type=Path)
    asked = parser.parse_args(arguments)
    problems = [unwritable(asked.writes)]
    if asked.secrets:
        problems.append(changed_secret(asked.secrets, os.environ, start_of_container()))
    if asked.job in PAGES:
        variable, port, path = PAGES[asked.job]
        problems.append(unanswered(int(os.environ.get(variable, port)), path))
    elif asked.job != "worker":
        database, now = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"], datetime.now(UTC)
        problems.append(trouble(asked.job, database, now))
        if asked.dags:
            bundles = Path(os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"])
            problems.append(without_dags(database, bundles, now))
    problem = next(filter(None, problems), None)
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
