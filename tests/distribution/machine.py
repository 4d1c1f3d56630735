"""A machine among others, as far as one machine can show it: a home and a user that no other one has."""

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.command import captured
from tests.support.waiting import working_in

ROOT = Path(__file__).parents[2]
_FIRST_USER = 64001  # numbers that no system gives to anybody
_NO_MORE = "--no-new-privs --bounding-set=-all --inh-caps=-all --clear-groups"


@dataclass(frozen=True)
class Machine:
    """A place for processes.

    :param home: What no other machine's processes can look into, where they have users of their own.
    :param data: The environment's data folder as this machine has it, VISAGE_HOME.
    :param user: The number of the user that its processes run as; None where the tests are not root's.
    :param cores: The processor cores that it has, as taskset lists them; None: all.
    """

    name: str
    home: Path
    data: Path
    user: int | None
    cores: str | None = None

    @classmethod
    def make(cls, folder: Path, number: int, name: str, data: Path | None, cores: str | None) -> "Machine":
        """Make machine `number` in `folder`; without `data` it has a data folder to itself."""
        # Who shares a folder does so as one user, as in Kubernetes
        user = _FIRST_USER + (0 if data else number) if os.geteuid() == 0 else None
        machine = cls(name, folder / name, data or folder / name / "data", user, cores)
        for path in (machine.home, *(machine.home / part for part in ("airflow", "dvc", "tmp"))):
            path.mkdir()
        machine.home.chmod(0o700)
        machine.data.mkdir(exist_ok=True)
        return machine

    def own(self) -> None:
        """Give the user all that lies in the home, and the data."""
        if self.user is not None:
            for folder in (self.home, self.data):
                for path in (folder, *folder.rglob("*")):
                    os.chown(path, self.user, self.user)

    @property
    def variables(self) -> dict[str, str]:
        """What its processes know of it."""
        return {
            "MACHINE": self.name,
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "TMPDIR": str(self.home / "tmp"),
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(self.home / "bundles"),
            "DVC_GLOBAL_CONFIG_DIR": str(self.home / "dvc"),
            "DVC_SITE_CACHE_DIR": str(self.home / "dvc-site-cache"),
            "VISAGE_HOME": str(self.data),
        }

    def trains(self) -> bool:
        """Whether a training runs here. Its process has none of the marks of a process of Airflow."""
        for one in working_in(self.data / "workspaces"):
            with suppress(psutil.NoSuchProcess):
                if one.cmdline()[-2:] == ["face_attributes", "train"]:
                    return True
        return False

    def command(self, program: Sequence[str]) -> list[str]:
        """Return the command that runs `program` here."""
        shown = ["taskset", "--cpu-list", self.cores, *program] if self.cores else list(program)
        if self.user is None:
            return shown
        identity = f"--reuid {self.user} --regid {self.user} {_NO_MORE}"
        script = f'{_revealed(self.home.parent)}exec setpriv {identity} "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *shown]

    def run(self, program: Sequence[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a program here to its end."""
        return captured(
            self.command(program),
            cwd=self.home,
            env={**variables, **self.variables},
            stdin=subprocess.DEVNULL,
            timeout=300,
        )


def _revealed(folder: Path) -> str:
    """Return shell commands that let other users reach this Python and this checkout.

    A root's home is closed to others, and both may lie in it. In a mount namespace of its own a process sees
    an empty folder in the place of the closed one, with these alone in it.
    """
    needed = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT}
    hidden = {path: way for path in sorted(needed) if (way := _closed(path)) is not None}
    hidden = {path: way for path, way in hidden.items() if not hidden.keys() & set(path.parents)}
    lines = []
    for number, path in enumerate(hidden):
        stage = folder / "stage" / str(number)
        stage.mkdir(parents=True, exist_ok=True)
        lines.append(["mount", "--bind", str(path), str(stage)])
    lines += [
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "none", str(way)] for way in sorted(set(hidden.values()))
    ]
    for number, path in enumerate(hidden):
        lines += [
            ["mkdir", "-p", str(path)],
            ["mount", "--move", str(folder / "stage" / str(number)), str(path)],
        ]
    return "".join(f"{shlex.join(line)}\n" for line in lines)


def _closed(path: Path) -> Path | None:
    """Return the first folder on the way to `path` that other users may not pass through."""
    assert path.stat().st_mode & stat.S_IXOTH, f"{path}: closed to other users; chmod o+rX it"
    return next((way for way in reversed(path.parents) if not way.stat().st_mode & stat.S_IXOTH), None)
