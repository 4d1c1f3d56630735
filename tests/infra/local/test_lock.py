import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.errors import BusyError
from infra.local.lock import exclusive

HOLD = """
import sys, time
from pathlib import Path
from infra.local.lock import exclusive
with exclusive(Path(sys.argv[1]), "make up"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_says_who_is_at_work(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "state" / "lock", "make up"),
        pytest.raises(BusyError, match=rf"make up \(process {os.getpid()}\) is running here"),
        exclusive(tmp_path / "state" / "lock", "make down"),
    ):
        pass


def test_a_lock_is_free_again(tmp_path: Path) -> None:
    for command in ("make up", "make down"):
        with exclusive(tmp_path / "lock", command):
            assert (tmp_path / "lock").read_text() == f"{command} (process {os.getpid()})"


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError), exclusive(lock, "make down"):
            pass
        holder.send_signal(signal.SIGKILL)
    with exclusive(lock, "make down"):
        pass
