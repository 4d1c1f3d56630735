"""Atomic writes of files that other processes of the same user read."""

import json
from pathlib import Path
from typing import Any

from gitops import atomic
from infra.local.errors import EngineError


def write(path: Path, text: str) -> None:
    """Replace the content of `path` atomically. Only the owner can read the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, text)


def write_json(path: Path, content: Any) -> None:
    """Replace the JSON document at `path` atomically."""
    write(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON document at `path`, or None if there is no such file.

    Raises:
        EngineError: The file is not JSON.

    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EngineError(f"{path}: not JSON ({error}); remove the file and run make up again") from error


def tail(path: Path, lines: int, *, window: int = 65536) -> list[str]:
    """Return the last non-empty lines of a text file, or an empty list if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - window))
            content = file.read()
    except FileNotFoundError:
        return []
    return [line for line in content.decode(errors="replace").splitlines() if line.strip()][-lines:]
