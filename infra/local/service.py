"""A service of the engine: a process that supervisord starts, and starts again when it ended."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from dashboard.processes import Restarts, Starts
from gitops.text import record
from infra.local import files, waiting
from infra.local.errors import EngineError
from infra.local.process import belonging, end, living
from infra.local.supervisor import Program, Supervisor

_SPAWN_SECONDS = 10


@dataclass(frozen=True)
class Service:
    """A process of the engine, with its own process group.

    Attributes:
        name: The name, such as `dev/scheduler`.
        state: The state folder.
        record: The file with the command and the variables, which is there while the service is to run.
        log: The file with the output.
        stop_signal: The signal that asks it to end, without SIG.
        grace: After how many seconds it is killed.
        retries: How often it may end in its first seconds before nobody starts it again.

    """

    name: str
    state: Path
    record: Path
    log: Path
    stop_signal: str = "TERM"
    grace: int = 10
    retries: int = 60

    def start(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> psutil.Process:
        """Start `command` in `folder`. Its launcher ends leftovers of an earlier process of this service.

        Raises:
            EngineError: The command cannot be started.

        """
        if shutil.which(command[0], path=environment.get("PATH")) is None:
            raise EngineError(f"{self.name}: cannot start {command[0]}: no such program")
        self._starts.unlink(missing_ok=True)
        files.write_json(
            self.record,
            {
                "service": self.name,
                "command": list(command),
                "folder": str(folder),
                "environment": dict(environment),
            },
        )
        log = self.log.relative_to(self.state)
        self._supervisor.start(Program(self.record.stem, log, self.stop_signal, self.grace, self.retries))
        process = waiting.wait_until(self.find, seconds=_SPAWN_SECONDS, pause=0.01)
        if process is None:
            raise EngineError(f"{self.name}: ended at once; its log is {self.log}")
        return process

    def find(self) -> psutil.Process | None:
        """Return the running process of this service, or None if it ended or never started."""
        info = self._supervisor.info(self.record.stem)
        try:
            process = psutil.Process(info["pid"]) if info and info["pid"] else None
        except psutil.NoSuchProcess:
            return None
        return process if process is not None and living(process) else None

    def died(self) -> bool:
        """Whether the service was started and then ended without being stopped."""
        return self.record.exists() and self.find() is None

    def lost(self) -> bool:
        """Whether the service ended and nobody starts it again: it ended too often, or supervisord ended."""
        info = self._supervisor.info(self.record.stem)
        return info is None or info["statename"] in ("FATAL", "STOPPED")

    def restarts(self) -> Restarts | None:
        """Return how often the service was started again; None if it runs since it was started."""
        try:
            starts = record.read_file(Starts, self._starts)
        except FileNotFoundError:
            return None
        return Restarts(self.name, starts.count - 1, starts.last) if starts.count > 1 else None

    def report(self) -> list[str]:
        """Return lines for people if the service ended since it was started on purpose."""
        restarts = self.restarts()
        if self.died():
            times = f" {restarts.count + 1} times" if restarts else ""
            outlook = "run make up" if self.lost() else "it starts again soon"
            last = [f"    {line}" for line in self.last_lines()]
            return [f"{self.name}: ended{times}; {outlook}; its log is {self.log}, its last lines:", *last]
        if restarts:
            last = restarts.last.astimezone().isoformat(" ", "seconds")
            return [f"{self.name}: ended, and was started again, {restarts.times}; the last time {last}"]
        return []

    def leftovers(self) -> list[psutil.Process]:
        """Return the children that are still running although the service's own process ended."""
        return [] if self.find() is not None else belonging(self.state, self.name)

    def ask(self) -> bool:
        """Ask the service to end, without waiting. Return whether it was running."""
        running = self.find() is not None
        self._supervisor.ask(self.record.stem)
        return running

    def stop(self) -> bool:
        """End the service and its children. Return whether there was anything to end.

        Only the service itself is asked to end. Its children are killed, because a task that is asked to end
        counts as failed, whereas a killed task starts again with the next scheduler.

        Raises:
            EngineError: A process does not end.

        """
        running = self.ask()
        waiting.wait_until(lambda: self.find() is None, seconds=self.grace + 5, pause=0.05)
        rest = belonging(self.state, self.name)
        end(rest, grace=0)
        for path in (self.record, self._starts):
            path.unlink(missing_ok=True)
        self._supervisor.end_if_idle()
        return running or bool(rest)

    def last_lines(self, count: int = 5) -> list[str]:
        return files.tail(self.log, count)

    @property
    def _starts(self) -> Path:
        return self.record.with_suffix(".starts")

    @property
    def _supervisor(self) -> Supervisor:
        return Supervisor(self.state)
