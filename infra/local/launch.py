"""Become the program of a service: `python -m infra.local.launch NAME`, which supervisord calls.

The command and the variables are in a file that only the owner can read, so a secret is in no configuration
and in no list of processes.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from dashboard.processes import Starts
from gitops.text import record
from infra.local import files
from infra.local.process import belonging, end, marks


def main(name: str, state: Path) -> None:
    """End leftovers of an earlier process of the service, count this start, and become its program."""
    plan = files.read_json(state / "processes" / f"{name}.json")
    service = plan["service"]
    end(belonging(state, service), grace=0)
    starts = state / "processes" / f"{name}.starts"
    count = record.read_file(Starts, starts).count + 1 if starts.exists() else 1
    now = datetime.now(UTC).replace(microsecond=0)
    files.write(starts, Starts(service=service, count=count, last=now).model_dump_json() + "\n")
    os.chdir(plan["folder"])
    program, *arguments = plan["command"]
    os.execvpe(program, [program, *arguments], {**plan["environment"], **marks(state, service)})  # noqa: S606 (no shell is wanted)


if __name__ == "__main__":
    main(sys.argv[1], Path.cwd())
