"""Commands and DVC, run in the checkout of a commit, with their output in the log."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from gitops.dvc import commands as dvc_commands
from gitops.errors import StepError

log = logging.getLogger(__name__)

# Before each command, in the log.
_PROMPT = "$ "
# DVC's own lines around the output of a stage.
_STAGE_BEGAN, _STAGE_FAILED = ("Running stage", "> "), "ERROR: failed to reproduce"


def call(command: Sequence[str], folder: Path, timeout: timedelta) -> None:
    """Run `command` in the checkout `folder`, with its own code on the path, each line of output to the log.

    The whole process group ends with this call: at the timeout, and when the calling task is stopped.

    Raises:
        StepError: if it fails or takes longer than `timeout`.

    """
    if command[0] == "dvc":
        call_dvc([command[1:]], folder, timeout)
        return
    log.info("%s%s", _PROMPT, " ".join(command))
    _run(command, " ".join(command), folder, timeout)


def call_dvc(commands: Sequence[Sequence[str]], folder: Path, timeout: timedelta) -> None:
    """Run DVC `commands`, each without the word dvc, up to the first that fails; else as `call`.

    Raises:
        StepError: naming the command that failed.

    """
    program = [
        sys.executable,
        "-P",
        dvc_commands.__file__,
        json.dumps([list(command) for command in commands]),
    ]
    _run(program, " ".join(["dvc", *commands[0]]), folder, timeout)


def storage_problem(folder: Path) -> str:
    """Ask the DVC remote of the checkout `folder` for a listing; return why it cannot be used, or "".

    DVC runs in a process of its own, as it is heavy to import.
    """
    # An object store has no folders, so there only an error counts; a folder must exist.
    script = (
        "from dvc.repo import Repo\n"
        "remote = Repo().cloud.get_remote()\n"
        "if not remote.fs.exists(remote.path) and remote.fs.protocol == 'local':\n"
        "    raise SystemExit(f'{remote.path}: no such folder')\n"
    )
    command = [sys.executable, "-c", script]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "no answer within 120 s"
    return (done.stderr.strip().splitlines() or ["no answer"])[-1] if done.returncode else ""


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a command that runs in the checkout `folder`."""
    # DVC lets every user write to this cache (by default in /var/tmp), and unpickles the files that it holds.
    # A workspace is closed to other users.
    site_cache = {"DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site-cache")}
    return (
        site_cache
        | os.environ
        | {
            # The release's own code, not the one that this interpreter has installed.
            "PYTHONPATH": str(folder / "src"),
            # `python` and `dvc` are those of this interpreter's environment, be it activated or not.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",
            "DVC_NO_ANALYTICS": "1",
        }
    )


def _run(program: Sequence[str], shown: str, folder: Path, timeout: timedelta) -> None:
    process = subprocess.Popen(
        list(program),
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        os.killpg(process.pid, signal.SIGKILL)

    watchdog = threading.Timer(timeout.total_seconds(), expire)
    watchdog.start()
    last = complaint = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.rstrip():
                # DVC prints the problem first, and then a link to its documentation. For a stage that failed
                # it prints nothing more; the last output of the stage comes before that line.
                if text.startswith(_STAGE_FAILED):
                    complaint = text if not last or last.startswith(_STAGE_BEGAN) else last
                elif text.startswith("ERROR: "):
                    complaint = text
                elif text.startswith(f"{_PROMPT}dvc "):
                    shown = text.removeprefix(_PROMPT)
                last = text
                log.info("%s", text)
        status = process.wait()
    finally:
        watchdog.cancel()
        _end_group(process)
    if expired.is_set():
        raise StepError(f"{shown}: stopped, it took longer than {timeout}", command=shown)
    if status != 0:
        raise StepError(f"{shown}: exit status {status}: {complaint or last}", command=shown)


def _end_group(process: subprocess.Popen[str]) -> None:
    """Kill the remaining processes of the group; its id stays taken as long as any member lives."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
