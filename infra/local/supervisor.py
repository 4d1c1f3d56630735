"""The supervisord of a checkout, which starts processes again that ended, and rotates their output.

Its configuration holds no path, no command and no secret: supervisord runs in the state folder, and starts
`infra.local.launch` with the name of a program. Only its socket in a folder of this user gives access.
"""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops.private import private_folder
from infra.local import files, process, waiting
from infra.local.errors import EngineError

SERVICE = "supervisor"
_LONGEST_SOCKET = 90
"""Of the 104 bytes that macOS allows (Linux: 108), supervisord needs some for the name of a draft."""
_ANSWER_SECONDS = 30
_NOT_RUNNING = 70
"""The fault of supervisord for a stop of a program that has ended."""
_BAD_NAME = 10
_BASE = """\
[supervisord]
nodaemon = true
silent = true
logfile = supervisor/supervisord.log
logfile_maxbytes = 5MB
logfile_backups = 1
pidfile = supervisor/supervisord.pid

[unix_http_server]
file = {socket}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = """
[program:{name}]
command = python -m infra.local.launch {name}
autostart = false
autorestart = true
startsecs = 10
startretries = {retries}
stopsignal = {signal}
stopwaitsecs = {grace}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 1
"""


@dataclass(frozen=True)
class Program:
    """A program that supervisord starts, and starts again when it ended.

    Attributes:
        name: The name of its file in the folder `processes` of the state.
        log: The file with its output, relative to the state folder.
        stop_signal: The signal that asks it to end, without SIG.
        grace: After how many seconds it is killed.
        retries: How often it may end in its first seconds before supervisord gives up. Each time, a second
            is added to the wait.

    """

    name: str
    log: Path
    stop_signal: str = "TERM"
    grace: int = 10
    retries: int = 60


class Supervisor:
    """The supervisord of the state folder `state`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._folder = state / "supervisor"
        self._address = self._folder / "address.json"

    def info(self, name: str) -> dict[str, Any] | None:
        """Return the state of a program, or None if supervisord does not run, or does not know it."""
        return self._call(lambda server: server.supervisor.getProcessInfo(name), _BAD_NAME)

    def start(self, program: Program) -> None:
        """Start a program that does not run; start supervisord first if it does not run.

        Raises:
            EngineError: supervisord does not start, or does not take the program.

        """
        settings = _PROGRAM.format(
            name=program.name,
            log=program.log,
            signal=program.stop_signal,
            grace=program.grace,
            retries=program.retries,
        )
        files.write(self._folder / "programs" / f"{program.name}.conf", settings)
        (self.state / program.log).parent.mkdir(parents=True, exist_ok=True)
        self._provide()
        # So it has the present settings, and forgets how often the program ended before.
        self.ask(program.name)
        self._call(lambda server: server.supervisor.removeProcessGroup(program.name), _BAD_NAME)
        self._configure()
        self._call(lambda server: server.supervisor.reloadConfig())
        self._call(lambda server: server.supervisor.addProcessGroup(program.name))
        self._call(lambda server: server.supervisor.startProcess(program.name, False))

    def ask(self, name: str) -> None:
        """Ask a program to end, without waiting, and do not start it again."""
        self._call(lambda server: server.supervisor.stopProcess(name, False), _NOT_RUNNING, _BAD_NAME)

    def end_if_idle(self) -> None:
        """End supervisord if it has no program to look after."""
        programs = self._call(lambda server: server.supervisor.getAllProcessInfo())
        if programs is None or any(program["statename"] != "STOPPED" for program in programs):
            return
        self.end()

    def end(self) -> None:
        """End supervisord with all of its programs.

        Raises:
            EngineError: A process does not end.

        """
        self._call(lambda server: server.supervisor.shutdown())
        running = process.belonging(self.state, SERVICE)
        if not waiting.wait_until(
            lambda: not any(map(process.living, running)), seconds=_ANSWER_SECONDS, pause=0.05
        ):
            process.end(running)
        self._forget_address()

    def _provide(self) -> None:
        if self._call(lambda server: server.supervisor.getState()):
            return
        # The output of processes that an ended supervisord left goes nowhere.
        left = process.belonging(self.state)
        process.end(one for one in left if process.service_of(one) != process.UP)
        self._forget_address()
        private_folder(self._folder)
        place = self._folder / "socket"
        if len(os.fsencode(place)) > _LONGEST_SOCKET:
            place = Path(tempfile.mkdtemp(prefix="visage-")) / "socket"
        files.write_json(self._address, str(place))
        settings = self._configure()
        log = self._folder / "start.log"
        with log.open("wb") as output:
            started = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(settings)],
                cwd=self.state,
                env={
                    **{name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TZ")},
                    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
                    "PYTHONPATH": str(Path(__file__).parents[2]),
                    "PYTHONSAFEPATH": "1",
                    **process.marks(self.state, SERVICE),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=process.UMASK,
            )

        def settled() -> str | None:
            if self._call(lambda server: server.supervisor.getState()):
                return "answers"
            return "ended" if started.poll() is not None else None

        if waiting.wait_until(settled, seconds=_ANSWER_SECONDS, pause=0.05) != "answers":
            last = (files.tail(log, 1) or ["no output"])[0]
            raise EngineError(f"supervisord does not start: {last} (see {log})")

    def _configure(self) -> Path:
        """Write the configuration: the base, and each program that was ever started."""
        place = Path(files.read_json(self._address))
        # The path of the state folder may have characters that the format gives a meaning.
        shown = place.relative_to(self.state) if place.is_relative_to(self.state) else place
        programs = [path.read_text() for path in sorted((self._folder / "programs").glob("*.conf"))]
        settings = self._folder / "supervisord.conf"
        files.write(settings, _BASE.format(socket=str(shown).replace("%", "%%")) + "".join(programs))
        return settings

    def _forget_address(self) -> None:
        place = files.read_json(self._address)
        if place is not None and not Path(place).is_relative_to(self.state):
            shutil.rmtree(Path(place).parent, ignore_errors=True)
        self._address.unlink(missing_ok=True)

    def _call(self, ask: Callable[[Any], Any], *expected: int) -> Any:
        """Return an answer of supervisord, or None if it does not run, or has an `expected` fault.

        Raises:
            EngineError: It does not answer, or has another fault.

        """
        place = files.read_json(self._address)
        if place is None:
            return None
        try:
            with xmlrpc.client.ServerProxy("http://supervisor", transport=_Transport(place)) as server:
                return ask(server)
        except (FileNotFoundError, ConnectionError, http.client.HTTPException):
            return None
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in expected:
                return None
            raise EngineError(f"supervisord: {fault.faultString}; see {self._folder}") from fault
        except OSError as error:
            raise EngineError(f"supervisord does not answer ({error}); run make down, make up") from error


class _Connection(http.client.HTTPConnection):
    """A connection to a socket in a folder."""

    def __init__(self, place: str) -> None:
        super().__init__("supervisor", timeout=_ANSWER_SECONDS)
        self._place = place

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._place)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        del host  # supervisord is the only one at the socket
        return _Connection(self._place)
