import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra.local import supervisor
from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.process import INSTANCE, SERVICE, UP, belonging, end, marks, service_of
from infra.local.service import Service
from tests.support.waiting import alive, wait_for

Make = Callable[[str], Service]
Start = Callable[..., psutil.Process]

WITH_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
SECRET = "correct horse battery staple"  # pragma: allowlist secret


def children_of(service: Service, count: int = 1) -> list[psutil.Process]:
    wait_for(lambda: service.log.read_text().count("\n") >= count)
    return [psutil.Process(int(pid)) for pid in service.log.read_text().split()]


def manager_of(layout: Layout) -> psutil.Process:
    """Return supervisord; until it becomes its program, a child of it looks the same."""
    alike = belonging(layout.state, supervisor.SERVICE)
    pids = {one.pid for one in alike}
    [found] = [one for one in alike if one.ppid() not in pids]
    return found


def address_of(state: Path) -> Path:
    return Path(json.loads((state / "supervisor/address.json").read_text()))


def test_a_service_is_found_again_by_another_command(service: Make, start: Start) -> None:
    started = start(service("dev/scheduler"))
    found = service("dev/scheduler").find()
    assert found is not None
    assert found.pid == started.pid
    assert os.getpgid(found.pid) == found.pid
    assert service("dev/dag-processor").find() is None


def test_a_service_carries_its_mark_and_nothing_else(service: Make, start: Start, layout: Layout) -> None:
    started = start(service("dev/scheduler"))
    wait_for(lambda: started.cmdline()[:2] == [sys.executable, "-c"])
    variables = started.environ()
    assert variables.pop(INSTANCE) == str(layout.state)
    assert variables.pop(SERVICE) == "dev/scheduler" == service_of(started)
    assert not set(variables) - {"LC_CTYPE"}


def test_a_secret_is_in_the_variables_of_its_process_and_in_a_private_file(
    service: Make, layout: Layout
) -> None:
    one = service("dev/scheduler")
    code = "import os, time; print(os.environ['KEY'], flush=True); time.sleep(600)"
    started = one.start([sys.executable, "-c", code], {"KEY": SECRET}, layout.checkout)
    wait_for(one.last_lines)
    manager = manager_of(layout)
    assert SECRET not in str([manager.environ(), manager.cmdline(), started.cmdline()])
    # The program itself printed it into its log.
    found = [path for path in layout.state.rglob("*") if path.is_file() and SECRET in path.read_text()]
    assert set(found) == {one.record, one.log}
    assert [path.stat().st_mode & 0o777 for path in found] == [0o600, 0o600]
    one.stop()
    assert not one.record.exists()


def test_output_goes_to_the_log(service: Make, start: Start) -> None:
    one = service("dev/scheduler")
    code = "print('first', flush=True); print('second', file=sys.stderr); time.sleep(9)"
    start(one, f"import sys, time; {code}")
    wait_for(lambda: "second" in one.last_lines())
    one.stop()
    assert set(one.last_lines()) == {"first", "second"}


def test_a_large_log_is_rotated(service: Make, start: Start) -> None:
    one = service("dev/scheduler")
    code = "for _ in range(21): print('x' * 1024**2)"
    start(one, f"import time\n{code}\nprint('end', flush=True)\ntime.sleep(9)")
    earlier = one.log.with_name(f"{one.log.name}.1")
    wait_for(lambda: earlier.exists() and one.last_lines()[-1:] == ["end"])
    sizes = [path.stat().st_size for path in one.log.parent.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < 21 * 1024**2


def test_a_killed_service_comes_back_without_its_orphans_and_says_so(service: Make, start: Start) -> None:
    one = service("dev/scheduler")
    leader = start(one, WITH_CHILD)
    [child] = children_of(one)
    assert (one.restarts(), one.report()) == (None, [])
    leader.send_signal(signal.SIGKILL)
    wait_for(lambda: (found := one.find()) is not None and found.pid != leader.pid)
    [first, second] = children_of(one, 2)
    assert first == child
    assert not alive(first)
    assert alive(second)
    restarts = one.restarts()
    assert restarts is not None
    assert restarts.count == 1
    [line] = one.report()
    assert line.startswith("dev/scheduler: ended, and was started again, once; the last time 2")
    assert not one.died()


def test_a_service_that_ends_at_once_is_given_up_and_its_last_words_are_told(
    service: Make, start: Start, layout: Layout
) -> None:
    one = replace(service("dev/scheduler"), retries=1)
    start(one, "print('no such table: dag_run'); raise SystemExit(3)")
    wait_for(one.lost)
    assert one.died()
    assert one.report() == [
        f"dev/scheduler: ended 2 times; run make up; its log is {one.log}, its last lines:",
        "    no such table: dag_run",
        "    no such table: dag_run",
    ]
    started = start(one)
    assert one.find() == started
    assert one.report() == [], "a start on purpose begins to count anew"


def test_without_supervisord_nothing_counts_as_running_and_a_start_ends_what_it_left(
    service: Make, start: Start, layout: Layout
) -> None:
    one, other = service("dev/scheduler"), service("dev/triggerer")
    left = [start(one), start(other)]
    manager = manager_of(layout)
    manager.kill()
    wait_for(lambda: not alive(manager))
    assert one.died()
    assert one.lost()
    assert one.report()[0].startswith("dev/scheduler: ended; run make up; its log is ")
    start(one)
    assert not any(map(alive, left))
    assert other.died()


def test_a_start_of_supervisord_leaves_alone_what_make_up_runs(
    service: Make, start: Start, layout: Layout
) -> None:
    drawing = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, **marks(layout.state, UP)}
    )
    try:
        start(service("dev/scheduler"))
        assert drawing.poll() is None
    finally:
        drawing.kill()
        drawing.wait()


def test_supervisord_ends_with_the_last_service(service: Make, start: Start, layout: Layout) -> None:
    one, other = service("dev/scheduler"), service("prod/scheduler")
    start(one)
    start(other)
    assert one.stop() is True
    assert belonging(layout.state, supervisor.SERVICE)
    assert other.stop() is True
    assert belonging(layout.state) == []
    assert not (layout.state / "supervisor/address.json").exists()


@pytest.fixture
def crooked(tmp_path: Path) -> Iterator[Service]:
    """A service below a path that is too long for a socket, and has each character of a meaning."""
    state = tmp_path / "a [b] #c %(d)s ;e 'f\"g" / ("h" * 90) / ".visage"
    yield Service("dev/x", state, state / "processes/dev-x.json", state / "dev/x.log")
    end(belonging(state), grace=0)


def test_any_path_will_do(crooked: Service) -> None:
    started = crooked.start([sys.executable, "-c", "import time; time.sleep(600)"], {}, Path("/"))
    place = address_of(crooked.state)
    assert len(os.fsencode(place)) < 104
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert crooked.find() == started
    crooked.stop()
    assert not place.parent.exists()


def test_no_other_user_reads_what_a_service_writes(service: Make, layout: Layout, tmp_path: Path) -> None:
    one = service("dev/scheduler")
    code = "mkdir made; echo a face > made/photo.jpg; sleep 600"
    one.start(["sh", "-c", code], {"PATH": os.defpath}, tmp_path)
    made = tmp_path / "made"
    wait_for((made / "photo.jpg").exists)
    socket = address_of(layout.state)
    assert [path.stat().st_mode & 0o077 for path in (made, made / "photo.jpg", one.record, socket)] == [0] * 4
    assert socket.parent.stat().st_mode & 0o777 == 0o700


def test_a_half_written_address_is_named(service: Make, layout: Layout) -> None:
    broken = layout.state / "supervisor/address.json"
    broken.parent.mkdir(parents=True)
    broken.write_text('"/tm')
    with pytest.raises(EngineError, match=re.escape(f"{broken}: not JSON")):
        service("dev/scheduler").find()
    broken.unlink()


def test_stop_ends_children_in_groups_of_their_own(service: Make, start: Start, layout: Layout) -> None:
    one = service("dev/scheduler")
    leader = start(one, WITH_CHILD)
    [child] = children_of(one)
    assert one.stop() is True
    assert not alive(leader)
    assert not alive(child)
    assert belonging(layout.state) == []
    assert one.stop() is False


def test_stop_kills_what_does_not_listen(service: Make, start: Start) -> None:
    one = replace(service("dev/scheduler"), grace=1)
    leader = start(one, STUBBORN)
    wait_for(one.last_lines)
    assert one.stop() is True
    assert not alive(leader)


def test_stop_leaves_the_other_services_alone(service: Make, start: Start) -> None:
    start(service("dev/scheduler"))
    other = start(service("staging/scheduler"))
    service("dev/scheduler").stop()
    assert alive(other)


def test_a_command_that_is_not_there_is_named(service: Make, layout: Layout) -> None:
    layout.state.mkdir()
    with pytest.raises(EngineError, match="dev/scheduler: cannot start no-such-command"):
        service("dev/scheduler").start(["no-such-command"], {}, layout.state)


def test_end_of_nothing_is_nothing() -> None:
    end([])
