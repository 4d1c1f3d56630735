"""How long the page of Airflow's web interface takes to be made, with a year of data.

    python -m benchmarks.dashboard [--batches 4] [--main 500] [--rounds 5]

Lays out 365 days of batches, 52 checks and a main of many commits, for dev, whose history is all of main.
Measures the time of the api-server for a visit: the first visit of a new process with an empty file cache,
with a full file cache, and later visits (median). Exits with status 1 if a limit is exceeded.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.dashboard.world import World

LIMIT = 2.0
"""Seconds."""

# The api-server imports the page when it starts.
_VISITS = """
import sys, time
import dashboard.app
from dashboard import page
for _ in range(int(sys.argv[1])):
    begun = time.perf_counter()
    page.show(52)
    print(time.perf_counter() - begun)
"""


def main() -> None:
    """Print the duration of visits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=int, default=4, help="batches on a weekday (default: 4)")
    parser.add_argument("--main", type=int, default=500, help="commits on main (default: 500)")
    parser.add_argument("--rounds", type=int, default=5, help="how many later visits (default: 5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        os.environ["AIRFLOW_HOME"] = str(Path(temporary) / "airflow")
        world = World(Path(temporary), "dev", os.environ.__setitem__)
        for number in range(arguments.main):
            world.lab.land({"README.md": f"{number}\n".encode()}, message=f"Change {number}")
        world.release("first")
        world.year(batches=arguments.batches)
        world.serve()
        files = [path for path in Path(temporary).rglob("*") if path.is_file()]
        _forget(files)
        cold = _visits(1)[0]
        first, *later = _visits(1 + arguments.rounds)
    figures = {
        "first, nothing in the file cache": cold,
        "first": first,
        "later": statistics.median(later),
    }
    table = Table("visit", "seconds", "limit", title=f"{len(files)} files")
    for name, seconds in figures.items():
        table.add_row(name, f"{seconds:.2f}", f"{LIMIT:.0f}")
    Console().print(table)
    sys.exit(any(seconds > LIMIT for seconds in figures.values()))


def _visits(count: int) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", _VISITS, str(count)], capture_output=True, text=True, check=True, timeout=300
    )
    return [float(line) for line in done.stdout.splitlines()[-count:]]


def _forget(files: list[Path]) -> None:
    """Remove these files from the file cache of the system."""
    for path in files:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(number)


if __name__ == "__main__":
    main()
