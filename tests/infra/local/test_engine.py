import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from gitops.git.repository import Repository
from gitops.release.keys import PrivateKey
from gitops.release.load import fetch_state, load_state
from gitops.release.signatures import configured_root
from infra import new_environment
from infra.local import port, process
from infra.local.engine import Engine
from infra.local.errors import EngineError
from infra.local.instance import Instance
from infra.local.layout import Layout
from infra.local.screen import Screen, Step
from infra.local.service import Service
from infra.local.variables import Address
from tests.support.checkout import commit
from tests.support.environments import ENVIRONMENTS
from tests.support.waiting import alive, wait_for

Start = Callable[..., psutil.Process]

WITH_ORPHAN = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
"""


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def step(output: io.StringIO) -> Step:
    return Step(Screen(Console(file=output, width=200)), "Step")


def engine(layout: Layout, **shell: str) -> Engine:
    return Engine(layout, shell)


def test_ports_are_remembered_for_the_commands_that_follow(layout: Layout) -> None:
    numbers = {name: port.unused() for name in ENVIRONMENTS}
    shell = {port.setting(name): str(number) for name, number in numbers.items()}
    first = engine(layout, **shell).addresses()
    assert {name: address.port for name, address in first.items()} == numbers
    assert first["staging"].web == f"http://staging.localhost:{numbers['staging']}"
    assert first["staging"].url == f"http://127.0.0.1:{numbers['staging']}"
    assert engine(layout).addresses() == first


def test_a_port_that_another_program_has_is_refused_before_anything_starts(
    layout: Layout, start: Start, service: Callable[[str], Service]
) -> None:
    number = port.unused()
    code = f"import socket, time; s = socket.create_server(('127.0.0.1', {number})); time.sleep(600)"
    other = start(service("someone/else"), code)
    wait_for(lambda: port.listens(other, number))
    ports = {"VISAGE_DEV_PORT": str(port.unused()), "VISAGE_STAGING_PORT": str(port.unused())}
    with pytest.raises(EngineError, match=rf"port {number} \(prod\): taken by process {other.pid} "):
        engine(layout, VISAGE_PROD_PORT=str(number), **ports).addresses()
    assert not layout.ports.exists()


def test_the_first_three_environments_start_where_nobody_chose(layout: Layout) -> None:
    new_environment.write(layout.checkout, new_environment.make(layout.checkout, "qa", ["dev"], "", ""))
    assert engine(layout).names == ("dev", "qa", "staging")
    found = engine(layout, VISAGE_ENVIRONMENTS="prod, dev")
    assert found.names == ("dev", "prod")
    assert set(found.addresses()) == {"dev", "prod"}
    (layout.checkout / ".env").write_text("VISAGE_ENVIRONMENTS=qa\n")
    assert engine(layout).names == ("qa",)
    assert engine(layout).user_config.file.keys() == {"VISAGE_ENVIRONMENTS"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("dev,lab", "VISAGE_ENVIRONMENTS: lab: no such environment; there are dev, staging, prod"),
        (",", "VISAGE_ENVIRONMENTS: names no environment; there are dev, staging, prod"),
    ],
)
def test_a_choice_of_environments_that_there_are_not_is_refused(
    layout: Layout, value: str, says: str
) -> None:
    with pytest.raises(EngineError, match=says):
        _ = engine(layout, VISAGE_ENVIRONMENTS=value).names


def test_an_environment_that_runs_stays_up_whatever_is_chosen(layout: Layout, start: Start) -> None:
    running = Instance(layout, "prod", Address("", 0)).services["scheduler"]
    start(running, "import time; time.sleep(600)")
    assert engine(layout, VISAGE_ENVIRONMENTS="dev").names == ("dev", "prod")


def test_an_environment_that_the_checkout_has_no_more_is_stopped(
    layout: Layout, step: Step, start: Start
) -> None:
    running = Instance(layout, "gone", Address("", 0)).services["scheduler"]
    process_ = start(running, "import time; time.sleep(600)")
    assert engine(layout).stop(step) == ["gone/scheduler"]
    assert not alive(process_)


def test_origin_is_prepared_and_a_commit_that_is_not_pushed_is_told(
    layout: Layout, step: Step, output: io.StringIO
) -> None:
    engine(layout).prepare_origin(step)
    head = Repository(layout.checkout).resolve("HEAD")[:12]
    assert step.result == f"main is your commit {head}, with the keys of dev, staging, prod"
    state = load_state(engine(layout).origin.repository)
    for name in ("dev", "staging", "prod"):
        file = layout.paths_of(name).verifier_key
        keys = state.lists.keys(name)
        assert file.stat().st_mode & 0o777 == 0o600
        assert keys is not None
        assert keys.keys == {PrivateKey.load(file).public}
    checkout = Repository(layout.checkout)
    fetch_state(checkout, "visage")
    own = configured_root(engine(layout).origin.repository, None)
    assert configured_root(checkout, "visage") == state.tip == own
    head = commit(layout.checkout, "Second")
    engine(layout).prepare_origin(step)
    assert f"your commit {head[:12]} is not part of its main" in output.getvalue()
    assert "$ git push visage HEAD:my-change" in output.getvalue()


def test_the_checkout_itself_is_not_changed(layout: Layout, step: Step) -> None:
    checkout = Repository(layout.checkout)
    before = checkout.git("for-each-ref"), (layout.checkout / ".git/index").read_bytes()
    engine(layout).prepare_origin(step)
    assert (checkout.git("for-each-ref"), (layout.checkout / ".git/index").read_bytes()) == before
    assert checkout.git("status", "--porcelain") == ""


def test_stop_ends_everything_that_carries_the_mark_and_says_what(
    layout: Layout, start: Start, service: Callable[[str], Service], step: Step
) -> None:
    scheduler = start(service("dev/scheduler"))
    dying = replace(service("prod/scheduler"), retries=0)
    start(dying, WITH_ORPHAN)
    wait_for(dying.lost)
    # Between a fork and the next program a process shows no environment, and so no mark.
    wait_for(lambda: service("prod/scheduler").leftovers(), seconds=20)
    (orphan,) = service("prod/scheduler").leftovers()
    stray = psutil.Popen(["sleep", "600"], env=process.marks(layout.state, "dev/airflow"))
    stopped = engine(layout).stop(step)
    assert set(stopped) == {
        "dev/scheduler",
        "leftovers of prod/scheduler",
        f"process {stray.pid}, left by dev/airflow",
    }
    assert process.belonging(layout.state) == []
    assert not alive(scheduler)
    assert not alive(orphan)
    assert engine(layout).stop(step) == []


def test_stop_leaves_another_checkout_alone(
    layout: Layout, start: Start, service: Callable[[str], Service], step: Step, tmp_path: Path
) -> None:
    mine = start(service("dev/scheduler"))
    other = Layout(tmp_path / "other")
    theirs = Instance(other, "dev", Address("", 0)).services["scheduler"]
    theirs.start(["sleep", "600"], {"PATH": os.defpath}, tmp_path)
    assert engine(other).stop(step) == ["dev/scheduler"]
    assert process.belonging(other.state) == []
    assert alive(mine)
    assert service("dev/scheduler").find() == mine


def test_stop_does_not_need_what_start_needs(layout: Layout, step: Step) -> None:
    (layout.checkout / ".env").write_text("BROKEN\n")
    assert engine(layout, VISAGE_DATABASE_URL="nonsense").stop(step) == []


def test_remove_takes_the_state_and_never_what_a_link_in_it_points_to(
    layout: Layout, step: Step, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "photo.jpg").write_text("")
    made = engine(layout)
    made.prepare_origin(step)
    (layout.state / "dev/data").mkdir(parents=True)
    (layout.state / "dev/data/raw").symlink_to(precious)
    assert made.remove() == ["the git remote visage", str(layout.state)]
    assert not layout.state.exists()
    assert (precious / "photo.jpg").exists()
    assert Repository(layout.checkout).remotes() == []
    assert made.remove() == []


def test_remove_refuses_a_state_that_is_a_link(layout: Layout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    layout.state.symlink_to(elsewhere)
    with pytest.raises(EngineError, match=r"\.visage: this is a link, so its target was not removed"):
        engine(layout).remove()
    assert elsewhere.exists()


def test_what_is_not_committed_and_not_passed_on_is_told(
    layout: Layout, step: Step, output: io.StringIO
) -> None:
    (layout.checkout / "new").write_text("")
    engine(layout, AIRFLOW__CORE__PARALLELISM="32").check(step)
    assert "1 file is not committed, so not part of the release" in output.getvalue()
    assert "not passed on from your shell: AIRFLOW__CORE__PARALLELISM" in output.getvalue()
