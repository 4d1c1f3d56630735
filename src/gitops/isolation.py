"""The place in which the code of a commit runs: without the secrets of the process that starts it.

A stage, a comparison or a DAG file is code that somebody proposed. It gets

- the variables that `variables` names, and no other;
- a home and a folder for temporary files of its own;
- where Linux permits user namespaces, a view of the machine of its own: no network but a loopback, no other
  processes, an empty home folder and `/run`, and only its own folders to write to; and a limit of processes.

`hide` closes the memory and the variables of the calling process to other processes of the same user. Where
there are no namespaces, that is the protection of those.
"""

import ctypes
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CELEBA = "CELEBA_DIR"
"""The folder of the photographs, which a stage reads."""

PASSED_ON = (
    CELEBA,
    "CUDA_VISIBLE_DEVICES",
    "DO_NOT_TRACK",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ORT_DISABLE_TELEMETRY",
    "PATH",
    "TZ",
    "VIRTUAL_ENV",
    "VISAGE_HOME",
)
"""The variables that code of a commit may see. None of them holds a secret."""

PROCESSES = 4096
"""The most processes and threads at a time. A training has some for each core and network."""
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""The statuses of a command that the system killed, as it does when memory runs out."""

_LAUNCHER = Path(__file__).with_name("isolation_process.py")
_PR_SET_DUMPABLE = 4
_PART, _PARTS = 65_536, 64
MOST = _PART * _PARTS
"""How many characters of its output are kept, the last ones: code may print without end."""
_LAST_OUTPUT = 5
"""Seconds to wait for the end of the output of a command that has ended."""


@dataclass(frozen=True)
class Place:
    """The folders of one run.

    Attributes:
        writable: The folders and files that the code may change.
        readable: The folders and files that it may read, although the folder that holds them is hidden.
        hidden: Folders that it sees empty, beside home folders, temporary files and `/run`.

    """

    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()


NEXT = "Next: "
"""The beginning of the line with the next command, which code of a release prints after its failure."""


@dataclass(frozen=True)
class Isolated:
    """How to start a command: put `prefix` before it, and give it `variables` alone."""

    prefix: tuple[str, ...]
    variables: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Done:
    """A command that has ended: its exit status, and the last of its output."""

    status: int
    output: str
    complaints: str

    @property
    def last_line(self) -> str:
        """The last line of its complaints that is no next command, "" without one."""
        return last_line(self.complaints)


def last_line(complaints: str) -> str:
    """Return the last line of a command's complaints that is no next command, "" without one."""
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not line.startswith(NEXT)), "")


def hide() -> None:
    """Close the memory and the variables of this process to other processes of the same user.

    A process of the same user could otherwise read `/proc/<pid>/environ` and `/proc/<pid>/mem`. Root can read
    them all the same, outside of a user namespace. A new program that this process executes is open again.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def variables(extra: Mapping[str, str] | None = None, *, home: Path) -> dict[str, str]:
    """Return all variables of a command that runs code of a commit.

    Args:
        extra: Variables of this command alone.
        home: An empty folder, for HOME and temporary files.

    """
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    # Earlier releases do not set it themselves
    passed |= {"ORT_DISABLE_TELEMETRY": "1"}
    if CELEBA in passed:  # which may begin with the real home
        passed[CELEBA] = str(Path(passed[CELEBA]).expanduser())
    # `python` and `dvc` are those of this interpreter's environment, be it activated or not.
    passed["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), passed.get("PATH", os.defpath)])
    return passed | {"HOME": str(home), "TMPDIR": str(home)} | dict(extra or {})


@contextmanager
def isolated(
    place: Place, extra: Mapping[str, str] | None = None, *, temporary: Path | None = None
) -> Generator[Isolated]:
    """Provide a place in which code of a commit can run, and remove its temporary files at the end.

    Args:
        place: The folders of the run.
        extra: Variables of this command alone.
        temporary: The folder in which its home is made.

    """
    with tempfile.TemporaryDirectory(
        prefix="visage-stage-", dir=temporary, ignore_cleanup_errors=True
    ) as folder:
        home = Path(folder).resolve()
        prefix = _prefix(place, home) if namespaces() else ()
        yield Isolated(prefix, variables(extra, home=home))


def run(command: Sequence[str], place: Isolated, folder: Path, timeout: float) -> Done:
    """Run a command in its place, with only the last of its output in memory. No process of it is left.

    Args:
        command: The program and its arguments.
        place: The place.
        folder: The folder in which it starts.
        timeout: The seconds that it may take.

    Raises:
        subprocess.TimeoutExpired: if it takes longer.

    """
    process = subprocess.Popen(
        [*place.prefix, *command],
        cwd=folder,
        env=dict(place.variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [_Tail(process.stdout), _Tail(process.stderr)]
    try:
        status = process.wait(timeout)
    finally:
        end_group(process)
        for reader in readers:
            # Without namespaces, a process in a session of its own may hold the pipe for longer.
            reader.join(_LAST_OUTPUT)
    output, complaints = (reader.text for reader in readers)
    return Done(status, output, complaints)


def end_group(process: subprocess.Popen[str]) -> None:
    """Kill the remaining processes of a group; its id stays taken as long as any member lives."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


class _Tail(threading.Thread):
    """Reads a stream to its end, and keeps the last of it."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._parts: deque[str] = deque(maxlen=_PARTS)
        self.start()

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def run(self) -> None:
        with self._stream as stream:
            while part := stream.read(_PART):
                self._parts.append(part)


@functools.cache
def namespaces() -> bool:
    """Return whether this process may make the namespaces that hide the rest of the machine."""
    if sys.platform != "linux":
        return False
    with tempfile.TemporaryDirectory(prefix="visage-stage-") as folder:
        done = subprocess.run(
            [*_prefix(Place(), Path(folder).resolve()), "true"],
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    return done.returncode == 0


def service_prefix(place: Place, home: Path) -> tuple[str, ...]:
    """Return the words before the command of a service that runs code of a commit in a place of its own.

    It keeps the network of the machine, and may run commands in places of their own in turn.

    Args:
        place: The folders of the service.
        home: An existing folder for its HOME and temporary files.

    """
    return _prefix(place, home, service=True)


def _prefix(place: Place, home: Path, *, service: bool = False) -> tuple[str, ...]:
    folders: dict[str, object] = {
        "service": service,
        "hidden": _existing([*_hidden(), *place.hidden]),
        "readable": _existing([*_interpreter(), *place.readable]),
        "writable": _existing([home, *place.writable]),
        "links": _links([*_interpreter(), *place.readable, *place.writable]),
        "processes": PROCESSES,
    }
    return (sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(folders))


def _hidden() -> Iterator[Path]:
    """Yield the folders in which people, agents and engines keep keys, and that of terminals."""
    yield from (Path(path) for path in ("/home", "/root", "/run", "/tmp", "/var/tmp", "/dev/pts"))
    yield Path(tempfile.gettempdir())
    yield from (
        Path(os.environ[name]) for name in ("HOME", "AIRFLOW_HOME", "VISAGE_PRIVATE") if name in os.environ
    )
    for name in ("SSH_AUTH_SOCK", "GPG_AGENT_INFO"):
        if name in os.environ:
            yield Path(os.environ[name].partition(":")[0]).parent


def _interpreter() -> Iterator[Path]:
    """Yield the folders of this interpreter, of the libraries beside it, and of `gitops`."""
    yield from (Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent)
    yield Path(__file__).parent


def _existing(paths: Sequence[Path]) -> list[str]:
    """Return the real paths of those that exist. The root folder is nothing to hide or to show."""
    found = (path.resolve() for path in paths if path.is_absolute() and path.exists())
    return sorted({str(path) for path in found if path != Path("/")})


def _links(paths: Sequence[Path]) -> dict[str, str]:
    """Return the real path of each that leads over a link: the link may be in a hidden folder."""
    return {str(path): str(path.resolve()) for path in paths if path.exists() and path.resolve() != path}


def foreign_link(folder: Path, *, known: Sequence[Path] = ()) -> Path | None:
    """Return a link in `folder` that leads out of it, or None.

    Who keeps the outputs of a stage follows links, with other rights than the stage had.

    Args:
        folder: The folder in which code of a commit ran.
        known: Folders to which links may lead.

    """
    allowed = [path.resolve() for path in (folder, *known)]
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root) / name
            if path.is_symlink():
                target = Path(os.path.realpath(path))
                if not any(target.is_relative_to(place) for place in allowed):
                    return path
    return None
