"""A process of DVC, which is heavy to import: a question goes in as JSON, and the answer comes out.

A module of `gitops.dvc` is such a process: it calls `answer`, and the others call `ask`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gitops.errors import StorageError
from gitops.isolation import hide

_ERROR = 300


def own_module(module: str) -> list[str]:
    """Return the command of a module of this `gitops`, to which no folder of the caller lends modules.

    `python -I -m` would run the `gitops` of the virtual environment, which may be that of another checkout.
    """
    source = str(Path(__file__).parents[2])
    run = f"runpy.run_module({module!r}, run_name='__main__')"
    return [sys.executable, "-I", "-c", f"import runpy, sys; sys.path.insert(0, {source!r}); {run}"]


def ask(module: str, question: Mapping[str, Any]) -> Any:
    """Start a process of DVC with a question, and return its answer.

    Raises:
        StorageError: if a remote is not known, or does not answer.

    """
    done = subprocess.run(
        own_module(module),
        input=json.dumps(question),
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    # Libraries may print too
    text = done.stdout.rpartition("\0")[2]
    if done.returncode != 0:
        problem, _, command = text.strip().partition("\1")
        raise StorageError(problem or f"DVC failed with status {done.returncode}", following=command)
    try:
        return json.loads(text)
    except ValueError as error:
        raise StorageError(f"DVC gave no answer: {text[:_ERROR]}") from error


def with_files(reason: str) -> str:
    """Return a reason of DVC, with the files of its configuration where one cannot be read: it names none."""
    if "config file error" not in reason:
        return reason
    theirs = Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR", "~/.config/dvc"), "config")
    return f"{reason}; DVC reads .dvc/config, .dvc/config.local and {theirs}: correct them"


def answer(reply: Callable[[Any], Any]) -> None:
    """Answer the question of standard input on standard output, and end the process."""
    hide()
    status, text = 1, ""
    try:
        status, text = 0, json.dumps(reply(json.loads(sys.stdin.read())))
    except StorageError as error:
        text = f"{error}\1{error.next_command}"
    except Exception as error:  # whatever a storage's own library raises
        reason = " ".join(str(error).split())[:_ERROR] or type(error).__name__
        text = f"the DVC remote does not answer: {with_files(reason)}; run the command again"
    sys.stdout.write(f"\0{text}")
    sys.exit(status)
