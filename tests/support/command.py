"""Commands that a test runs to their end."""

import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def captured(
    command: Sequence[str | Path], *, timeout: float = 120, check: bool = False, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command, and return its status and its output as text."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=check, **options)


def processor() -> float:
    """Return the seconds of processor of the child processes that have ended, which no other work changes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
