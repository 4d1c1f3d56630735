"""Waiting for a git process, and ending it with all that it started if it takes too long."""

import os
import signal
import subprocess
import threading
from contextlib import suppress


def finish(process: subprocess.Popen[bytes], data: bytes | None, timeout: float) -> tuple[bytes, bytes]:
    """Return the output and the errors of a process, once it has ended.

    A timer ends a late process. With a timeout, `Popen.communicate` polls for the end and sleeps for a
    millisecond in between, so a small git command takes 1.4 times as long.

    Args:
        process: A process that leads a session (`start_new_session`), with pipes for its output.
        data: The input.
        timeout: Seconds until the process is killed, with all processes of its session.

    Raises:
        subprocess.TimeoutExpired: if it was killed.

    """
    late = threading.Event()

    def stop() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(timeout, stop)
    timer.daemon = True
    try:
        timer.start()
        stdout, stderr = process.communicate(data)
    except BaseException:
        _kill(process)
        process.communicate()
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise subprocess.TimeoutExpired(process.args, timeout)
    return stdout, stderr


def _kill(process: subprocess.Popen[bytes]) -> None:
    # It may have just ended.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
