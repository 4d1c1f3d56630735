"""Commands that the engine runs for the user. Each is shown as the user would type it."""

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.local.errors import EngineError
from infra.local.screen import Step


def run(
    command: Sequence[str],
    step: Step,
    *,
    folder: Path,
    environment: Mapping[str, str],
    shown: str | None = None,
    seconds: float = 600,
    statuses: tuple[int, ...] = (0,),
    transient: bool = False,
) -> None:
    """Run `command` in `folder`, and print its output below `step`. `shown` is printed as its command line.

    On a terminal, `transient` output disappears when the step is over.

    Raises:
        EngineError: The exit status is not in `statuses`, or the command runs longer than `seconds`.
            The message has its last line of output.

    """
    shown = shown or shlex.join(command)
    step.say(f"$ {shown}")
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    expired = threading.Event()
    watchdog = threading.Timer(seconds, lambda: (expired.set(), _signal(process, signal.SIGKILL)))
    watchdog.start()
    last = "no output"
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.rstrip():
                last = text
                step.transient(f"  {text}") if transient and step.interactive else step.say(f"  {text}")
        process.wait()
    except BaseException:
        end(process)
        raise
    finally:
        watchdog.cancel()
    if expired.is_set():
        raise EngineError(f"{shown}: did not end within {seconds:.0f} s")
    if process.returncode not in statuses:
        raise EngineError(f"{shown}: exit status {process.returncode}: {last.strip()}")


def end(process: "subprocess.Popen[Any]") -> None:
    """End the process group of `process`: with SIGTERM, and with SIGKILL after ten seconds."""
    _signal(process, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: "subprocess.Popen[Any]", number: signal.Signals) -> None:
    """Send a signal to the whole process group, because the command may have started other processes."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
