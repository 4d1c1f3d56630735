"""Delete old records and logs of an environment. You can run this at any time.

clean.py database   records of runs that are older than KEEP_RUN_DAYS, as `airflow db clean` deletes them;
                    the last run of each DAG stays
clean.py logs       logs of Airflow that nobody wrote to for KEEP_LOG_DAYS
clean.py pods       on Kubernetes: pods of tasks that ended more than a day ago, or waited for twelve hours

--daily FILE        do it now, and then once a day; touch FILE after each day on which all parts succeeded
--after SECONDS     wait before the first time
"""

import argparse
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

_TIMEOUT = 3600
_DAY = 86_400


class CleanError(Exception):
    """Something could not be cleaned."""


def days(name: str) -> timedelta:
    """Return a number of days from a variable.

    Raises:
        CleanError: It is no number of days.

    """
    value = os.environ.get(name, "")
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise CleanError(f"{name}: {value or 'not set'}: not a number of days; set it to 1 or more")
    return timedelta(days=int(value))


def airflow(*arguments: str) -> None:
    """Run a command of Airflow.

    Raises:
        CleanError: It fails. It has printed the reason.

    """
    done = subprocess.run(["airflow", *arguments], stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=False)
    if done.returncode:
        raise CleanError(f"airflow {' '.join(arguments[:2])}: exit status {done.returncode}")


def database(now: datetime) -> None:
    """Delete old records of runs."""
    before = (now - days("KEEP_RUN_DAYS")).isoformat(timespec="seconds")
    options = ("--skip-archive", "--yes", "--error-on-cleanup-failure")
    airflow("db", "clean", "--clean-before-timestamp", before, *options)


def logs(now: datetime) -> None:
    """Delete old logs, and folders that are empty since then."""
    home = os.environ.get("AIRFLOW_HOME", "")
    folder = Path(os.environ.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER") or f"{home}/logs")
    before = now - days("KEEP_LOG_DAYS")
    count, size = 0, 0
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(parent) / name
            state = path.lstat()
            if state.st_mtime < before.timestamp():
                path.unlink(missing_ok=True)
                count, size = count + 1, size + state.st_size
        for name in folders:
            path = Path(parent) / name
            # A task may be about to write into a folder that it has just made.
            old = path.lstat().st_ctime < (now - timedelta(days=1)).timestamp()
            if old and not path.is_symlink() and not any(path.iterdir()):
                path.rmdir()
    print(f"{folder}: deleted {count} logs, {size:,} bytes")


def pods(_: datetime) -> None:
    """Delete pods of tasks that are left over."""
    namespace = os.environ["AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE"]
    airflow(
        *("kubernetes", "cleanup-pods", "--namespace", namespace),
        *("--min-pending-minutes", "720", "--min-completed-minutes", "1440"),
    )


PARTS = {"database": database, "logs": logs, "pods": pods}


def main(arguments: list[str]) -> int:
    """Clean the parts that the command line names, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART")
    parser.add_argument("--daily", type=Path, metavar="FILE")
    parser.add_argument("--after", type=int, default=0, metavar="SECONDS")
    asked = parser.parse_args(arguments)
    time.sleep(asked.after)
    while True:
        failed = False
        for part in asked.parts:
            try:
                PARTS[part](datetime.now(UTC))
            except (CleanError, OSError, subprocess.TimeoutExpired, KeyError) as error:
                # The other parts go on.
                print(f"clean.py {part}: {error}", file=sys.stderr)
                failed = True
        if asked.daily is None:
            return 1 if failed else 0
        if not failed:
            asked.daily.touch()
        time.sleep(_DAY)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
