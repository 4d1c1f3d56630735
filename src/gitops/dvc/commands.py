"""Several DVC commands in one process: each process of DVC starts with seconds of imports.

The DVC remote lists the files of a folder, and nobody reviews that list. DVC accepts `../src/x.py` as a name
there and writes over code; here it does not.

`python -P <this file> '[["pull", "a.dvc"], ["repro", "train"]]'` runs them in order, up to the first that
fails, and exits with its status. It is run as a file, as `-m gitops.dvc.commands` would be the release's own.
"""

# DVC has no types.
# pyright: reportMissingTypeStubs=false

import json
import sys
from typing import Any


def main(commands: list[list[str]]) -> int:
    """Run DVC `commands` in order; return the exit status of the first that fails, else 0."""
    from dvc.cli import main as dvc  # pyright: ignore[reportUnknownVariableType]

    _stay_in_folders()
    for command in commands:
        print("$", "dvc", *command, flush=True)
        if status := dvc(command):
            return status
    return 0


def _stay_in_folders() -> None:
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.tree import Tree

    add = Tree.add

    def checked(self: Tree, key: tuple[str, ...], meta: Any, oid: Any) -> None:
        if {"", ".", ".."} & set(key):
            raise DvcException(f"a listing on the DVC remote leads out of its folder: {'/'.join(key)!r}")
        add(self, key, meta, oid)

    Tree.add = checked


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
