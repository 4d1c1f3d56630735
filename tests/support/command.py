"""Commands that a test runs to their end."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def captured(
    command: Sequence[str | Path], *, timeout: float = 120, check: bool = False, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command, and return its status and its output as text."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=check, **options)
