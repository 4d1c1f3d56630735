"""Processes that outlive the command that started them: find and stop them.

The environment variables of each process and its children name the state folder that they belong to. This
mark identifies even orphans of orphans, which a process id does not.
"""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from infra.local.errors import EngineError

INSTANCE = "VISAGE_INSTANCE"
"""Environment variable: the state folder that a process belongs to."""
SERVICE = "VISAGE_SERVICE"
"""Environment variable: the service that a process is, or that started it, such as `dev/scheduler`."""

UP = "up"
"""The service of the processes that `make up` itself starts and waits for."""

UMASK = 0o077
"""File mode mask: only the owner can read the files of the engine and its processes."""

_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)


def marks(state: Path, service: str) -> dict[str, str]:
    """Return the environment variables that mark a process of the service `service`."""
    return {INSTANCE: str(state), SERVICE: service}


def belonging(state: Path, service: str | None = None) -> list[psutil.Process]:
    """Return all running processes with the mark of the state folder `state`, except this process.

    Args:
        state: The state folder.
        service: Only the processes of this service.

    """
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid()
        and (variables := _environment(process)).get(INSTANCE) == str(state)
        and service in (None, variables.get(SERVICE))
    ]


def service_of(process: psutil.Process) -> str:
    """Return the service that started a process, according to its mark."""
    return _environment(process).get(SERVICE, "unknown")


def end(processes: Iterable[psutil.Process], *, grace: float = 5) -> None:
    """End `processes`: ask (SIGTERM), wait `grace` seconds, then kill.

    Raises:
        EngineError: A process is still running after that.

    """
    processes = list(processes)
    if grace > 0:
        for process in processes:
            _signal(process, signal.SIGTERM)
        processes = _wait(processes, grace)
    for process in processes:
        _signal(process, signal.SIGKILL)
    if alive := _wait(processes, 10):
        numbers = ", ".join(str(process.pid) for process in alive)
        raise EngineError(f"process {numbers}: still alive after SIGKILL; it waits for a disk or a device")


def living(process: psutil.Process) -> bool:
    """Whether a process runs and is no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except _GONE:
        return False


def _wait(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return the processes that are still running after at most `seconds`. Zombies are ignored."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if living(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except _GONE:
        return


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment variables of a process, or {} if it ended or belongs to another user."""
    try:
        return process.environ()
    except (*_GONE, psutil.AccessDenied, OSError):
        return {}
