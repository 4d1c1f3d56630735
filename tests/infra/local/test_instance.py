"""One real Airflow, from nothing, on the engine's own database."""

import io
import json
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
from rich.console import Console

from gitops.airflow.client import Access, Airflow
from infra.local import files, port, process, secret, supervisor, variables
from infra.local.database import Embedded
from infra.local.engine import Engine
from infra.local.errors import EngineError
from infra.local.instance import PROCESSES, Instance, wait
from infra.local.layout import Layout
from infra.local.lock import exclusive
from infra.local.screen import Screen, Step
from infra.local.supervisor import Supervisor
from infra.local.variables import Address, UserConfig
from tests.support.checkout import make_checkout
from tests.support.command import captured
from tests.support.waiting import wait_for

# The fixture has a bundle of its own.
BUNDLES = {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"}


@dataclass
class Running:
    instance: Instance
    env: dict[str, str]
    access: Access


def a_step() -> Step:
    return Step(Screen(Console(file=io.StringIO())), "Start")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    layout = Layout(make_checkout(tmp_path_factory.mktemp("instance") / "checkout"))
    database = Embedded(layout)
    # As the command line does.
    before, held = os.umask(process.UMASK), ExitStack()
    try:
        held.enter_context(exclusive(layout.lock, "make up"))
        database.start()
        address = Address("localhost", port.unused())
        instance = Instance(layout, "dev", address)
        secrets = secret.load(instance.paths.secrets)
        env = variables.derive(layout, "dev", UserConfig({}, {}), address, secrets, database.url("dev"))
        bundle = {"name": "release", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
        env["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(
            [bundle | {"kwargs": {"path": str(layout.checkout / "dags")}}]
        )
        instance.configure("pass word")
        assert instance.migrate(env, database) is True
        assert instance.migrate(env, database) is False
        assert instance.provide_pools(env) is True
        assert instance.provide_pools(env) is False
        assert instance.start(env, os.environ, key="key").missing == PROCESSES
        wait([instance], a_step(), seconds=400)
        access = Access(url=address.url, username="airflow", password="pass word")
        yield Running(instance, env, access)
    finally:
        Supervisor(layout.state).end()
        process.end(process.belonging(layout.state), grace=0)
        held.close()
        os.umask(before)


@pytest.fixture
def running(started: Running) -> Running:
    """The instance, up and with its own settings whatever the test before this one did to it."""
    if started.instance.start(started.env, os.environ, key="key").missing:
        wait([started.instance], a_step(), seconds=400)
    return started


def test_it_answers_with_its_name_and_takes_its_password(running: Running) -> None:
    with Airflow(running.access, timeout=60) as airflow:
        assert airflow.dags() == []
        token = airflow._log_in()
    answer = requests.get(
        f"{running.access.url}/ui/config", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ).json()
    assert answer["instance_name"] == "Visage dev"
    assert answer["dashboard_alert"] == [{"text": "**dev** has no release yet", "category": "info"}]
    assert "brand" in answer["theme"]["tokens"]["colors"]


def test_it_has_the_pools_that_the_dags_name(running: Running) -> None:
    with Airflow(running.access, timeout=60) as airflow:
        found = {pool["name"]: pool["slots"] for pool in airflow.call("GET", "/api/v2/pools")["pools"]}
    assert {"training": 1, "scoring": 1, "verification": 1}.items() <= found.items()


@pytest.mark.long
def test_old_records_and_logs_are_deleted_once_a_day(running: Running) -> None:
    """The process waits for half an hour; here its parts run at once, on the real database."""
    instance = running.instance
    process = instance.alive()["clean"]
    command = process.cmdline()
    assert command[command.index("--daily") + 1] == str(instance.paths.cleaned)
    assert command[-2:] == ["database", "logs"]
    done = captured([*command[:2], *command[-2:]], env={**process.environ()}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{instance.paths.airflow / 'logs'}: deleted 0 logs" in done.stdout


def test_a_command_of_airflow_reaches_it(running: Running) -> None:
    layout = Layout(running.instance.paths.root.parents[1])
    files.write_json(layout.ports, {"dev": running.instance.address.port})
    variables = Engine(layout, os.environ | {"AIRFLOW__CORE__FERNET_KEY": "of another Airflow"}).variables_of(
        "dev"
    )
    assert {name: variables[name] for name in running.env.keys() - BUNDLES} == {
        name: running.env[name] for name in running.env.keys() - BUNDLES
    }

    def said(*command: str) -> str:
        return subprocess.run(
            ["airflow", *command],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    assert "The stages of a training run" in said("pools", "get", "training")
    assert "graphviz" not in said("dags", "list")


def test_it_listens_here_alone(running: Running) -> None:
    listening = [
        connection.laddr.ip
        for process_ in running.instance.alive().values()
        for member in [process_, *process_.children(recursive=True)]
        for connection in member.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"] * 2, "the web interface and the online service"


def test_every_process_of_it_carries_the_mark(running: Running) -> None:
    for name, service in running.instance.services.items():
        leader = service.find()
        assert leader is not None
        for member in [leader, *leader.children(recursive=True)]:
            assert process.service_of(member) == f"dev/{name}"


def test_no_other_user_reads_anything_of_it(running: Running) -> None:
    state = running.instance.paths.root.parent
    assert state.name == ".visage"
    with Airflow(running.access, timeout=60) as airflow:
        airflow.dags()  # so that it has written what it writes when it is asked
    assert [path for path in everything(state) if path.lstat().st_mode & 0o077] == []
    if os.geteuid() == 0:
        secrets = running.instance.paths.secrets
        with reachable(state.parent):
            seen = as_nobody("find", str(state))
            assert (seen.stdout, seen.returncode) == (f"{state}\n", 1), seen.stderr
            assert as_nobody("cat", str(secrets)).returncode == 1
            assert as_nobody("touch", str(state / "planted")).returncode == 1


def everything(folder: Path) -> Iterator[Path]:
    """Yield a folder and whatever is below it, links excepted, though it may come and go."""
    yield folder
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(root) / name
            if path.exists() and not path.is_symlink():
                yield path


@contextmanager
def reachable(folder: Path) -> Iterator[None]:
    """Let other users pass to a folder, as they can in many homes."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.parents)}
    closed = {path: mode for path, mode in modes.items() if not mode & stat.S_IXOTH}
    try:
        for path, mode in closed.items():
            path.chmod(mode | stat.S_IROTH | stat.S_IXOTH)
        yield
    finally:
        for path, mode in closed.items():
            path.chmod(mode)


def as_nobody(*command: str) -> subprocess.CompletedProcess[str]:
    return captured(command, user="nobody", group=pwd.getpwnam("nobody").pw_gid, extra_groups=(), cwd="/")


def test_passwords_of_other_users_stay(tmp_path: Path) -> None:
    instance = Instance(Layout(tmp_path), "dev", Address("localhost", 0))
    instance.configure("one")
    files.write_json(instance.paths.passwords, {"airflow": "one", "anna": "hers"})
    instance.configure("two")
    assert json.loads(instance.paths.passwords.read_text()) == {"airflow": "two", "anna": "hers"}
    before = instance.paths.passwords.stat().st_ino
    instance.configure("two")
    assert instance.paths.passwords.stat().st_ino == before


def test_what_runs_is_left_alone(running: Running) -> None:
    before = running.instance.alive()
    started = running.instance.start(running.env, os.environ, key="key")
    assert (started.missing, started.found_dead, started.changed) == ((), (), ())
    assert running.instance.alive() == before


@pytest.mark.parametrize("name", ["dag-processor", pytest.param("scheduler", marks=pytest.mark.long)])
def test_a_killed_process_alone_comes_back_by_itself(running: Running, name: str) -> None:
    engine = Engine(Layout(running.instance.paths.root.parents[1]), os.environ)
    before = running.instance.alive()
    before[name].kill()
    wait_for(lambda: running.instance.alive().get(name) not in (None, before[name]))
    running.instance.require()
    wait_for(lambda: running.instance.trouble() is None, seconds=400)
    after = running.instance.alive()
    assert after["api-server"] == before["api-server"]
    [line] = [line for line in engine.ended() if line.startswith(f"dev/{name}: ")]
    assert line.startswith(f"dev/{name}: ended, and was started again, once; the last time ")
    assert not engine.is_incomplete()


@pytest.mark.long
def test_a_killed_database_comes_back_by_itself(running: Running) -> None:
    layout = Layout(running.instance.paths.root.parents[1])
    before = running.instance.alive()
    server = Embedded(layout).service.find()
    assert server is not None
    server.kill()
    wait_for(lambda: running.instance.trouble() is not None)
    wait_for(lambda: running.instance.trouble() is None, seconds=400)
    assert running.instance.alive()["api-server"] == before["api-server"]


@pytest.mark.long
def test_without_supervisord_a_command_is_refused_and_a_start_brings_all_back(running: Running) -> None:
    layout = Layout(running.instance.paths.root.parents[1])
    before = running.instance.alive()
    process.end(process.belonging(layout.state, supervisor.SERVICE), grace=0)
    with pytest.raises(EngineError, match=r"dev: api-server, scheduler, .* ended; make up restarts"):
        running.instance.require()
    assert Engine(layout, os.environ).is_incomplete()
    assert Embedded(layout).start() == "dead"
    started = running.instance.start(running.env, os.environ, key="key")
    assert started.missing == started.found_dead == PROCESSES
    wait([running.instance], a_step(), seconds=400)
    assert not any(leader.is_running() for leader in before.values())


def test_a_port_of_another_program_is_named(tmp_path: Path, running: Running) -> None:
    taken = running.instance.address.port
    other = Instance(Layout(tmp_path), "staging", Address("localhost", taken))
    with pytest.raises(EngineError, match=rf"port {taken} \(staging\): taken by process \d+"):
        other.start(running.env, os.environ, key="key")
    assert other.alive() == {}


def test_another_program_that_answers_there_is_not_taken_for_it(tmp_path: Path, running: Running) -> None:
    other = Instance(Layout(tmp_path), "staging", running.instance.address)
    assert other.trouble() == "api-server is starting"


def test_a_process_that_ends_is_told_with_its_last_lines(tmp_path: Path, running: Running) -> None:
    layout = Layout(tmp_path)
    other = Instance(layout, "staging", Address("localhost", port.unused()))
    other.paths.root.mkdir(parents=True)
    broken = running.env | {
        "AIRFLOW__API__PORT": "no number",
        "AIRFLOW_HOME": str(other.paths.airflow),
        "SERVING_PORT": str(other.address.serving),
    }
    other.start(broken, os.environ, key="key")
    try:
        with pytest.raises(EngineError, match="staging/api-server ended; its log is") as caught:
            wait([other], a_step(), seconds=400)
        assert "AIRFLOW__API__PORT" in str(caught.value) or "no number" in str(caught.value)
    finally:
        process.end(process.belonging(layout.state), grace=0)


@pytest.mark.long
def test_changed_settings_start_it_anew(running: Running) -> None:
    changed = running.env | {"AIRFLOW__CORE__PARALLELISM": "1"}
    before = running.instance.alive()
    started = running.instance.start(changed, os.environ, key="key")
    assert started.changed == ("AIRFLOW__CORE__PARALLELISM",)
    assert started.missing == PROCESSES
    assert not any(leader.is_running() for leader in before.values())
    assert "scheduler" not in running.instance.alive(), "it waits for the api-server"
