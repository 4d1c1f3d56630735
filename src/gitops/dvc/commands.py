"""Several DVC commands in one process: each process of DVC starts with seconds of imports.

The DVC remote lists the files of a folder, and nobody reviews that list. DVC accepts `../src/x.py` as a name
there and writes over code; here it does not.

`python -I <this file> JSON` runs `commands` in order, up to the first that fails, and exits with its status.
It imports nothing of the checkout: it has the credentials of the DVC remote. The commands of stages are code
of the checkout, and run in the place that `stages` describes.
"""

# DVC has no types.
# pyright: reportMissingTypeStubs=false

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Wherever `gitops` is, its own folder is the one thing of it that an isolated process sees.
sys.path.append(str(Path(__file__).resolve().parents[2]))

CONFIGURES = "changed the configuration of DVC in its checkout; nothing is kept"


def main(
    commands: Sequence[Sequence[str]], stages: Mapping[str, Any] | None, folder: str, caches: Sequence[str]
) -> int:
    """Run DVC `commands` in order; return the exit status of the first that fails, else 0."""
    from gitops.isolation import hide

    hide()
    from dvc.cli import main as dvc  # pyright: ignore[reportUnknownVariableType]

    _stay_in_folders()
    _isolate(stages, Path(folder), [Path(cache) for cache in caches])
    for command in commands:
        print("$", "dvc", *command, flush=True)
        if status := dvc(list(command)):
            return status
    return 0


def configuration(folder: Path) -> dict[str, str]:
    """Return the files of a checkout by which DVC chooses its storage, and the content of each or its target.

    Where no namespace protects them, code of a commit can write them, and DVC with the keys would read them.
    """
    data = folder / ".dvc"
    if data.is_symlink() or not data.is_dir():
        return {".dvc": str(data.resolve())}
    files = [path for path in sorted(data.iterdir()) if path.name.casefold().startswith("config")]
    return {
        str(path.relative_to(folder)): str(path.resolve() if path.is_symlink() else path.read_bytes())
        for path in files
        if path.is_symlink() or path.is_file()
    }


def _isolate(stages: Mapping[str, Any] | None, folder: Path, caches: Sequence[Path]) -> None:
    """Let DVC run the commands of a stage in their place, and refuse to run them without one."""
    from dvc.exceptions import DvcException
    from dvc.stage import run
    from dvc.stage.exceptions import StageCmdFailedError

    from gitops.isolation import foreign_link

    def run_commands(stage: Any, dry: bool = False, run_env: Mapping[str, str] | None = None) -> None:
        # The lines of DVC, by which `gitops.dvc.run` tells a stage's output from its own
        print(f"Running stage '{stage.addressing}':", flush=True)
        declared: str | list[str] = stage.cmd
        for command in declared if isinstance(declared, list) else declared.splitlines():
            print(f"> {command}", flush=True)
            if dry:
                continue
            if stages is None:
                raise DvcException(f"{command}: no stage runs here")
            own = {"DVC_ROOT": stage.repo.root_dir, "DVC_STAGE": stage.addressing}
            program: list[str] = [*stages["prefix"], "/bin/sh", "-c", command]
            variables = {**stages["variables"], **own, **(run_env or {})}
            before = configuration(folder)
            done = subprocess.run(program, cwd=stage.wdir, env=variables, check=False)
            if configuration(folder) != before:
                raise DvcException(f"{command}: {CONFIGURES}")
            if done.returncode != 0:
                raise StageCmdFailedError(command, done.returncode)
            # DVC would follow it, and keep and push a file that the stage itself could not read.
            if link := foreign_link(folder, known=caches):
                where = link.relative_to(folder)
                raise DvcException(f"{command}: made the link {where}, which leads out of its folder")

    run.cmd_run = run_commands


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
    given = json.loads(sys.argv[1])
    sys.exit(main(**given))
