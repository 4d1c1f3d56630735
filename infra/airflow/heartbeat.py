"""Check that the process of this container is alive. Prints the reason and exits with status 1 if it is not.

    heartbeat.py SchedulerJob|DagProcessorJob|TriggererJob

It replaces `airflow jobs check --local`, which takes seconds to load Airflow for each check.
"""

import os
import socket
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

FRESH = timedelta(seconds=60)
_LATEST = """
SELECT latest_heartbeat FROM job
WHERE job_type = %s AND hostname = %s AND state = 'running'
ORDER BY latest_heartbeat DESC LIMIT 1
"""


def trouble(job: str, database: str, now: datetime) -> str | None:
    """Return why the job of this host does not seem alive, or None if it is alive."""
    url = make_url(database)
    arguments: dict[str, Any] = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
        "connect_timeout": 5,
        **url.query,
    }
    try:
        connection = psycopg2.connect(**arguments)
    except psycopg2.OperationalError as error:
        return f"the database does not answer: {str(error).strip().splitlines()[0]}"
    try:
        with connection.cursor() as cursor:
            cursor.execute(_LATEST, (job, socket.gethostname()))
            row = cursor.fetchone()
    finally:
        connection.close()
    if row is None:
        return f"{job}: has not reported from {socket.gethostname()} yet"
    age = now - row[0]
    return None if age < FRESH else f"{job}: reported last {age.total_seconds():.0f} s ago"


def main(arguments: list[str]) -> int:
    """Check the job that the command line names, and return the exit status."""
    [job] = arguments
    problem = trouble(job, os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"], datetime.now(UTC))
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
