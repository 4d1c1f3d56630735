import io
import os
import re
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from infra.local import command
from infra.local.errors import EngineError
from infra.local.screen import Screen
from tests.support.waiting import wait_for


def run(tmp_path: Path, code: str, output: io.StringIO | None = None, **options: object) -> str:
    output = output or io.StringIO()
    with Screen(Console(file=output, width=200)).step("Step") as step:
        command.run(
            [sys.executable, "-c", code],
            step,
            folder=tmp_path,
            environment={"NAME": "value"},
            shown="gitops merge x",
            **options,
        )
    return output.getvalue()


def test_the_command_is_shown_as_the_user_types_it_with_its_output(tmp_path: Path) -> None:
    code = (
        "import os, sys; print(os.environ['NAME'], os.getcwd(), flush=True); print('last', file=sys.stderr)"
    )
    lines = run(tmp_path, code).splitlines()
    assert lines[1:4] == ["    $ gitops merge x", f"      value {tmp_path}", "      last"]


def test_a_failure_is_told_with_the_last_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^gitops merge x: exit status 3: refused: no model$"):
        run(tmp_path, "print('refused: no model'); raise SystemExit(3)")
    with pytest.raises(EngineError, match="exit status 1: no output"):
        run(tmp_path, "raise SystemExit(1)")


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(EngineError, match="gitops merge x: did not end within 5 s"):
        run(tmp_path, code, seconds=5)
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_an_interrupted_command_is_ended(tmp_path: Path) -> None:
    output = io.StringIO()
    code = "import os, time; print(f'process {os.getpid()}', flush=True); time.sleep(600)"

    def interrupt() -> None:
        # It is waited for by then: its line was read.
        wait_for(lambda: re.search(r"process \d+\n", output.getvalue()))
        os.kill(os.getpid(), signal.SIGINT)

    # A shell has its background jobs ignore interrupts, and these tests may be one
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, code, output)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    started = re.search(r"process (\d+)", output.getvalue())
    assert started
    assert not psutil.pid_exists(int(started[1]))
