"""Several DVC commands in one process: each process of DVC starts with seconds of imports.

`python -P <this file> '[["pull", "a.dvc"], ["repro", "train"]]'` runs them in order, up to the first that
fails, and exits with its status. It is run as a file, as `-m gitops.dvc.commands` would be the release's own.
"""

import json
import sys


def main(commands: list[list[str]]) -> int:
    """Run DVC `commands` in order; return the exit status of the first that fails, else 0."""
    from dvc.cli import main as dvc

    for command in commands:
        print("$", "dvc", *command, flush=True)
        if status := dvc(command):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
