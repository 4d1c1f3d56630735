"""Processes that outlive the command which started them: start, find again, stop.

Each process, and whatever it starts, carries in its environment the state folder that it belongs to. That
mark tells it from all else on the machine, even from an orphan's orphan; a process id alone does not.
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
"""Environment variable: the service, for instance `dev/scheduler`, that a process is or was started by."""

UMASK = 0o077
"""No other user reads what the engine and its processes write."""

_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)


@dataclass(frozen=True)
class Service:
    """One process of the engine with a process group of its own.

    `state` is the state folder, `record` the file that remembers the process, `log` where its output goes.
    """

    name: str
    state: Path
    record: Path
    log: Path

    def start(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> psutil.Process:
        """Start `command` in `folder`; end first what an earlier, dead process of this service left behind.

        :raises EngineError: when the command cannot be started, or a left-over does not end.
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
        """Return the living process of this service, or None: dead, or never started."""
        record = files.read_json(self.record)
        if record is None:
            return None
        try:
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["created"]) < 1
            alive = process.status() != psutil.STATUS_ZOMBIE
            # Between two programs, as when one drops its rights and goes on as another, a process has no
            # variables for a moment. One look decides, for the moment may end between two.
            variables = _environment(process)
            ours = not variables or self._marks(variables)
            return process if same and alive and ours else None
        except _GONE:
            return None

    def died(self) -> bool:
        """Whether the service was started and has ended since, without having been stopped."""
        return self.record.exists() and self.find() is None

    def leftovers(self) -> list[psutil.Process]:
        """What is alive of this service although its own process is dead."""
        if self.find() is not None:
            return []
        return [process for process in belonging(self.state) if self._marked(process)]

    def ask(self, number: signal.Signals = signal.SIGTERM) -> bool:
        """Ask the service to end, and do not wait for it; return whether it was alive."""
        process = self.find()
        if process is not None:
            _signal_group(process, number)
        return process is not None

    def stop(self, *, grace: float = 10, ask: signal.Signals = signal.SIGTERM) -> bool:
        """End the service and whatever it started; return whether there was anything to end.

        Only the service itself is asked and waited for. What it started is killed: a task that is asked to
        end counts as failed, one that is killed starts again with the next scheduler.

        :raises EngineError: when something does not end.
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
    """Return every living process that carries the mark of the state folder `state`, this one excepted."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _environment(process).get(INSTANCE) == str(state)
    ]


def service_of(process: psutil.Process) -> str:
    """Return the service by which a process was started, as its mark says."""
    return _environment(process).get(SERVICE, "unknown")


def end(processes: Iterable[psutil.Process], *, grace: float = 5) -> None:
    """End `processes`: ask (SIGTERM), wait `grace` seconds, then kill.

    :raises EngineError: when one is still alive after that.
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
    """Return those that are still alive after at most `seconds`. A zombie counts as dead."""
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
    """Return a process's variables; none where it has ended or belongs to somebody else."""
    try:
        return process.environ()
    except (*_GONE, psutil.AccessDenied, OSError):
        return {}
