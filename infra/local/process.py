"""Processes that outlive the command that started them: start, find and stop them.

The environment variables of each process and its children name the state folder that they belong to. This
mark identifies even orphans of orphans, which a process id does not.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.local import files
from infra.local.errors import EngineError

INSTANCE = "VISAGE_INSTANCE"
"""Environment variable: the state folder that a process belongs to."""
SERVICE = "VISAGE_SERVICE"
"""Environment variable: the service that a process is, or that started it, such as `dev/scheduler`."""

UMASK = 0o077
"""File mode mask: only the owner can read the files of the engine and its processes."""

_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)


@dataclass(frozen=True)
class Service:
    """A process of the engine, with its own process group.

    `state` is the state folder, `record` the file with the process id, and `log` the file with the output.
    """

    name: str
    state: Path
    record: Path
    log: Path

    def start(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> psutil.Process:
        """End leftovers of an earlier process of this service, then start `command` in `folder`.

        Raises:
            EngineError: The command cannot be started, or a leftover does not end.

        """
        end(self.leftovers())
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            try:
                started = subprocess.Popen(
                    list(command),
                    cwd=folder,
                    env={**environment, INSTANCE: str(self.state), SERVICE: self.name},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    umask=UMASK,
                )
            except OSError as error:
                raise EngineError(f"{self.name}: cannot start {command[0]}: {error.strerror}") from error
        process = psutil.Process(started.pid)
        files.write_json(self.record, {"pid": process.pid, "created": process.create_time()})
        return process

    def find(self) -> psutil.Process | None:
        """Return the running process of this service, or None if it ended or never started."""
        record = files.read_json(self.record)
        if record is None:
            return None
        try:
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["created"]) < 1
            alive = process.status() != psutil.STATUS_ZOMBIE
            # While a process replaces its program, for example to drop its rights, it has no environment
            # variables for a moment. Decide by a single reading, because the moment may end between two.
            variables = _environment(process)
            ours = not variables or self._marks(variables)
            return process if same and alive and ours else None
        except _GONE:
            return None

    def died(self) -> bool:
        """Whether the service was started and then ended without being stopped."""
        return self.record.exists() and self.find() is None

    def leftovers(self) -> list[psutil.Process]:
        """Return the children that are still running although the service's own process ended."""
        if self.find() is not None:
            return []
        return [process for process in belonging(self.state) if self._marked(process)]

    def ask(self, number: signal.Signals = signal.SIGTERM) -> bool:
        """Ask the service to end, without waiting. Return whether it was running."""
        process = self.find()
        if process is not None:
            _signal_group(process, number)
        return process is not None

    def stop(self, *, grace: float = 10, ask: signal.Signals = signal.SIGTERM) -> bool:
        """End the service and its children. Return whether there was anything to end.

        Only the service itself is asked to end. Its children are killed, because a task that is asked to end
        counts as failed, whereas a killed task starts again with the next scheduler.

        Raises:
            EngineError: A process does not end.

        """
        process = self.find()
        if process is not None:
            _signal_group(process, ask)
            end(_wait([process], grace), grace=0)
        rest = [other for other in belonging(self.state) if self._marked(other)]
        end(rest, grace=0)
        self.record.unlink(missing_ok=True)
        return process is not None or bool(rest)

    def last_lines(self, count: int = 5) -> list[str]:
        return files.tail(self.log, count)

    def _marked(self, process: psutil.Process) -> bool:
        return self._marks(_environment(process))

    def _marks(self, variables: Mapping[str, str]) -> bool:
        return variables.get(INSTANCE) == str(self.state) and variables.get(SERVICE) == self.name


def belonging(state: Path) -> list[psutil.Process]:
    """Return all running processes with the mark of the state folder `state`, except this process."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _environment(process).get(INSTANCE) == str(state)
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


def _wait(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return the processes that are still running after at most `seconds`. Zombies are ignored."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _living(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except _GONE:
        return


def _signal_group(process: psutil.Process, number: signal.Signals) -> None:
    try:
        if process.is_running():
            os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _living(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except _GONE:
        return False


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment variables of a process, or {} if it ended or belongs to another user."""
    try:
        return process.environ()
    except (*_GONE, psutil.AccessDenied, OSError):
        return {}
