"""Commands that the engine runs for the user, each shown as they would type it."""

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

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
    passing: bool = False,
) -> None:
    """Run `command` in `folder`, with its output as lines of `step`, and `shown` as what it was.

    Lines of `passing` interest are gone from a terminal when the step is over.

    :raises EngineError: when it ends with another status than `statuses` or takes longer than `seconds`, with
        its last line.
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
    last = "it said nothing"
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.rstrip():
                last = text
                step.passing(f"  {text}") if passing and step.lively else step.say(f"  {text}")
        process.wait()
    except BaseException:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()
        raise
    finally:
        watchdog.cancel()
    if expired.is_set():
        raise EngineError(f"{shown}: no end within {seconds:.0f} s")
    if process.returncode not in statuses:
        raise EngineError(f"{shown}: exit status {process.returncode}: {last.strip()}")


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Reach the whole group, as the command may have started others."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
