import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.process import INSTANCE, SERVICE, Service, belonging, end, service_of
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


def child_of(service: Service) -> psutil.Process:
    wait_for(lambda: service.log.read_text())
    return psutil.Process(int(service.log.read_text()))


def test_a_service_is_found_again_by_another_command(service: Make, start: Start) -> None:
    started = start(service("dev/scheduler"))
    found = service("dev/scheduler").find()
    assert found is not None
    assert found.pid == started.pid
    assert os.getsid(found.pid) == found.pid
    assert service("dev/dag-processor").find() is None


def test_a_service_carries_its_mark_and_nothing_else(service: Make, start: Start, layout: Layout) -> None:
    started = start(service("dev/scheduler"))
    wait_for(lambda: started.cmdline()[:1] == [sys.executable])
    variables = started.environ()
    assert variables.pop(INSTANCE) == str(layout.state)
    assert variables.pop(SERVICE) == "dev/scheduler" == service_of(started)
    assert not set(variables) - {"LC_CTYPE"}


def test_output_goes_to_the_log(service: Make, start: Start) -> None:
    one = service("dev/scheduler")
    start(one, "print('first'); import sys; print('second', file=sys.stderr)")
    wait_for(lambda: "second" in one.last_lines())
    assert set(one.last_lines()) == {"first", "second"}


def test_a_killed_service_is_dead(service: Make, start: Start) -> None:
    one = service("dev/scheduler")
    start(one).kill()
    wait_for(lambda: one.find() is None)


def test_a_number_that_another_process_got_is_not_ours(service: Make, start: Start) -> None:
    one, other = service("dev/scheduler"), service("dev/dag-processor")
    running = start(other)
    wait_for(running.environ)  # as it becomes another program, a process has no mark for a moment
    one.record.write_text(json.dumps({"pid": running.pid, "created": running.create_time()}))
    assert one.find() is None
    assert one.stop() is False
    assert alive(running)


def test_a_service_that_has_no_variables_just_now_is_alive(service: Make, start: Start) -> None:
    one = service("database")
    running = start(one, "import os; os.execve('/bin/sleep', ['sleep', '600'], {})")
    wait_for(lambda: running.name() == "sleep")
    assert one.find() == running
    running.kill()
    wait_for(lambda: one.find() is None)


def test_a_service_that_goes_on_as_another_program_is_alive_all_the_while(
    service: Make, tmp_path: Path
) -> None:
    restless = tmp_path / "restless"
    restless.write_text('#!/bin/sh\nexec "$0"\n')
    restless.chmod(0o755)
    one = service("database")
    running = one.start([str(restless)], {}, tmp_path)
    try:
        assert [one.find() for _ in range(3000)] == [running] * 3000
    finally:
        running.kill()


def test_no_other_user_reads_what_a_service_writes(service: Make, tmp_path: Path) -> None:
    one = service("dev/scheduler")
    one.start(["sh", "-c", "mkdir made; echo a face > made/photo.jpg"], {"PATH": os.defpath}, tmp_path)
    made = tmp_path / "made"
    wait_for((made / "photo.jpg").exists)
    assert [path.stat().st_mode & 0o777 for path in (made, made / "photo.jpg", one.record)] == [
        0o700,
        0o600,
        0o600,
    ]


def test_a_record_from_before_a_restart_of_the_machine_is_stale(service: Make, start: Start) -> None:
    one = service("dev/scheduler")
    running = start(one)
    one.record.write_text(json.dumps({"pid": running.pid, "created": running.create_time() - 3600}))
    assert one.find() is None


def test_a_half_written_record_is_named(service: Make) -> None:
    one = service("dev/scheduler")
    one.record.parent.mkdir(parents=True)
    one.record.write_text('{"pid":')
    with pytest.raises(EngineError, match=r"dev-scheduler\.json: not JSON"):
        one.find()


def test_stop_ends_children_in_groups_of_their_own(service: Make, start: Start, layout: Layout) -> None:
    one = service("dev/scheduler")
    leader = start(one, WITH_CHILD)
    child = child_of(one)
    assert one.stop() is True
    assert not alive(leader)
    assert not alive(child)
    assert belonging(layout.state) == []
    assert one.stop() is False


def test_stop_kills_what_does_not_listen(service: Make, start: Start) -> None:
    one = service("dev/scheduler")
    leader = start(one, STUBBORN)
    wait_for(one.last_lines)
    assert one.stop(grace=0.2) is True
    assert not alive(leader)


def test_stop_leaves_the_other_services_alone(service: Make, start: Start) -> None:
    start(service("dev/scheduler"))
    other = start(service("staging/scheduler"))
    service("dev/scheduler").stop()
    assert alive(other)


def test_start_ends_what_a_killed_service_left(service: Make, start: Start) -> None:
    one = service("dev/scheduler")
    leader = start(one, WITH_CHILD)
    child = child_of(one)
    leader.send_signal(signal.SIGKILL)
    wait_for(lambda: one.find() is None)
    assert one.leftovers() == [child]
    start(one)
    assert not alive(child)


def test_a_command_that_is_not_there_is_named(service: Make, layout: Layout) -> None:
    layout.state.mkdir()
    with pytest.raises(EngineError, match="dev/scheduler: cannot start no-such-command"):
        service("dev/scheduler").start(["no-such-command"], {}, layout.state)


def test_end_of_nothing_is_nothing() -> None:
    end([])
