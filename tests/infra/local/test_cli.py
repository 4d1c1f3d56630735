import errno
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from gitops.git.repository import Repository
from infra.local import cli, files, port, process
from infra.local.drill import Drill, Part
from infra.local.first_run import FirstRun
from infra.local.instance import Instance
from infra.local.layout import Layout
from infra.local.lock import exclusive
from infra.local.schedule import Schedule
from infra.local.service import Service
from infra.local.variables import Address
from tests.support.command import captured
from tests.support.fake_airflow import FakeAirflow
from tests.support.lab import ROOT
from tests.support.waiting import wait_for


@pytest.fixture
def runner(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    monkeypatch.setattr(cli, "CHECKOUT", layout.checkout)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    before = os.umask(0o022)
    yield CliRunner()
    os.umask(before)


def test_down_and_clean_of_nothing_say_so(runner: CliRunner, layout: Layout) -> None:
    for command, said in (("down", "Nothing to stop."), ("clean", "Nothing to remove.")):
        result = runner.invoke(cli.app, [command])
        assert (result.exit_code, result.output) == (0, f"{said}\n")
    assert not layout.state.exists()


def test_down_of_what_does_not_run_is_content(runner: CliRunner, layout: Layout) -> None:
    layout.state.mkdir()
    result = runner.invoke(cli.app, ["down"])
    assert result.exit_code == 0
    assert "✓ Stop everything  no process was running" in result.output


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("down", "make up continues these runs"),
        ("clean --yes", "These runs and their results so far will be lost"),
    ],
)
def test_runs_that_are_cut_off_are_named(
    runner: CliRunner,
    layout: Layout,
    start: Callable[..., psutil.Process],
    service: Callable[[str], Service],
    command: str,
    said: str,
) -> None:
    with FakeAirflow() as airflow:
        airflow.dag("ml_pipeline_face_attributes", "a" * 40)
        airflow.run("ml_pipeline_face_attributes", "success")
        airflow.run("ml_pipeline_face_attributes", "running")
        start(service("dev/api-server"))
        start(service("prod/api-server"))
        dev = {"url": airflow.access.url, "username": "airflow", "password": "s3cret"}
        gone = dev | {"url": f"http://127.0.0.1:{port.unused()}"}
        layout.access.write_text(json.dumps({"dev": dev, "staging": gone, "prod": gone}))
        result = runner.invoke(cli.app, command.split())
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "In progress: dev: ml_pipeline_face_attributes manual__1+00:00"
    assert lines[1].startswith("In progress: prod: the runs in progress are unknown: ")
    assert lines[2].startswith(said)
    assert process.belonging(layout.state) == []


def test_an_access_file_that_is_damaged_keeps_nobody_from_stopping(runner: CliRunner, layout: Layout) -> None:
    layout.state.mkdir()
    layout.access.write_text("{")
    result = runner.invoke(cli.app, ["down"])
    assert result.exit_code == 0
    assert "In progress: the runs in progress are unknown: " in result.output
    assert "Stop everything" in result.output


def test_a_state_that_others_could_read_is_closed_by_the_next_command(
    runner: CliRunner, layout: Layout
) -> None:
    layout.state.mkdir(mode=0o755)
    assert runner.invoke(cli.app, ["down"]).exit_code == 0
    assert layout.state.stat().st_mode & 0o777 == 0o700
    assert layout.lock.stat().st_mode & 0o777 == 0o600, "the umask of whatever the command starts"


def test_clean_removes_the_state_and_the_remote(runner: CliRunner, layout: Layout) -> None:
    layout.origin.mkdir(parents=True)
    Repository(layout.checkout).git("remote", "add", "visage", str(layout.origin))
    result = runner.invoke(cli.app, ["clean", "--yes"])
    assert result.exit_code == 0
    assert f"Removed: the git remote visage, {layout.state}" in result.output
    assert not layout.state.exists()


def test_status_prints_a_process_that_ended_with_its_last_lines(
    runner: CliRunner,
    layout: Layout,
    start: Callable[..., psutil.Process],
) -> None:
    scheduler = replace(Instance(layout, "prod", Address("", 0)).services["scheduler"], retries=0)
    start(scheduler, "print('no such table: dag_run'); raise SystemExit(3)")
    wait_for(scheduler.lost)
    result = runner.invoke(cli.app, ["status"])
    assert result.exit_code == 1
    said = result.output.replace("\n", "")
    assert "prod/scheduler: ended; run make up; its log is" in said
    assert result.output.endswith("\n    no such table: dag_run\n")


@pytest.mark.parametrize(("ok", "state"), [(True, "restored and whole"), (False, "not whole; git: no main")])
def test_status_prints_the_result_of_the_weekly_backup(
    runner: CliRunner, layout: Layout, ok: bool, state: str
) -> None:
    schedule = Schedule(layout)
    files.write_json(schedule.service.record, {})
    parts = (Part("restore", True, "3 files"), Part("git", ok, "no main"))
    files.write_json(
        layout.weekly, asdict(Drill("2026-11-01T03:00:00+00:00", "/mnt/backups/a", 1.0, ok, parts))
    )
    result = runner.invoke(cli.app, ["status"])
    assert result.exit_code == 1
    assert result.output.endswith(f"Weekly backup of 2026-11-01T03:00:00+00:00: /mnt/backups/a: {state}\n")


def answer(layout: Layout, said: str, *command: str) -> tuple[int, str]:
    """Run a command on a terminal, type an answer, and return its exit status and what it showed."""
    checkout = f"Path({str(layout.checkout)!r})"
    code = f"from pathlib import Path; from infra.local import cli; cli.CHECKOUT = {checkout}; cli.app()"
    terminal, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code, *command],
        cwd=Path(__file__).parents[3],
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    ) as process:
        os.close(other)
        os.write(terminal, said.encode())
        shown = b""
        try:
            while chunk := os.read(terminal, 65536):
                shown += chunk
        except OSError as error:
            if error.errno != errno.EIO:  # which is how a terminal says that its other end is closed
                raise
        os.close(terminal)
    return process.returncode, " ".join(shown.decode().split())


def test_the_demo_says_what_it_will_do_and_a_no_changes_nothing(layout: Layout) -> None:
    status, shown = answer(layout, "n\n", "demo-drift")
    assert status == 1
    assert "start an Airflow for dev, staging, prod (nothing is up)" in shown
    assert "train a first model, merge it into main, and promote it to staging and prod" in shown
    assert "usually takes about 20 minutes" in shown
    assert "Continue? [y/N]" in shown
    assert "Nothing was changed." in shown
    assert not layout.state.exists()
    assert Repository(layout.checkout).remotes() == []


def test_the_demo_begins_without_a_terminal_only_where_that_is_said(
    runner: CliRunner, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = runner.invoke(cli.app, ["demo-drift"])
    assert result.exit_code == 1
    assert (
        "nothing was changed: there is no terminal to ask for confirmation\nNext: make demo-drift YES=1"
        in result.output
    )
    assert not layout.state.exists()
    monkeypatch.setenv("VISAGE_DEV_PORT", "none")
    begun = runner.invoke(cli.app, ["demo-drift", "--yes"])
    assert "VISAGE_DEV_PORT: 'none' is not a port" in begun.output, "it began, and got as far as the ports"


def test_clean_without_a_terminal_deletes_only_where_that_is_said(runner: CliRunner, layout: Layout) -> None:
    (layout.state / "prod/data").mkdir(parents=True)
    result = runner.invoke(cli.app, ["clean"])
    assert result.exit_code == 1
    assert (
        "nothing was changed: there is no terminal to ask for confirmation\nNext: make clean YES=1"
        in result.output
    )
    assert (layout.state / "prod/data").is_dir()


def test_clean_asks_a_person(layout: Layout) -> None:
    (layout.state / "prod/data").mkdir(parents=True)
    (layout.state / "prod/data/photo.jpg").write_text("")
    status, shown = answer(layout, "\n", "clean")
    assert (status, "Nothing was changed." in shown) == (1, True)
    assert (layout.state / "prod/data/photo.jpg").exists()
    status, shown = answer(layout, "y\n", "clean")
    assert status == 0, shown
    assert not layout.state.exists()


@pytest.mark.parametrize("command", ["up", "down", "clean --yes"])
def test_two_commands_do_not_race(runner: CliRunner, layout: Layout, command: str) -> None:
    with exclusive(layout.lock, "make up"):
        result = runner.invoke(cli.app, [*command.split()])
    assert result.exit_code == 1
    assert f": make up (process {os.getpid()}) is running here" in result.stderr
    assert result.stderr.splitlines()[-1] == f"Next: make {command.split()[0]}"
    assert layout.state.exists()


def test_an_error_is_one_line(runner: CliRunner, layout: Layout) -> None:
    path = layout.checkout / "environments/prod/settings.env"
    path.write_text(path.read_text().replace("WEB_PORT=8082", "WEB_PORT=many"))
    result = runner.invoke(cli.app, ["up"])
    assert result.exit_code == 1
    error, following = result.stderr.splitlines()
    assert error.startswith("Cannot start the environments: ")
    assert "environments/prod/settings.env" in error
    assert "WEB_PORT" in error
    assert following == "Next: make up"


@pytest.mark.parametrize(
    ("environment", "said", "following"),
    [
        ("qa", "qa: no such environment; there are dev, staging, prod", "make status"),
        ("dev", "dev: nothing was started in ", "make up"),
    ],
)
def test_a_command_of_airflow_needs_an_environment_that_is_up(
    runner: CliRunner, environment: str, said: str, following: str
) -> None:
    result = runner.invoke(cli.app, ["airflow", environment, "dags", "list", "--help"])
    assert result.exit_code == 1
    line, last = result.stderr.splitlines()
    assert line.startswith(f"Cannot run a command of Airflow: {said}")
    assert last == f"Next: {following}"


def test_a_command_line_that_is_wrong_exits_with_2(runner: CliRunner) -> None:
    result = runner.invoke(cli.app, ["upp"])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "Cannot run the local engine: No such command 'upp'. Did you mean 'up'?",
        "Next: .venv/bin/python -m infra.local --help",
    ]


@pytest.mark.parametrize("page", ["docs/tutorial.md", "docs/fr/tutoriel.md"])
def test_the_tutorial_shows_the_steps_in_their_order(page: str) -> None:
    block = (ROOT / page).read_text().split("```text\n")[1].split("```")[0]
    shown = [line[2:].split("  ")[0] for line in block.splitlines() if line[:2] in ("✓ ", "… ")]
    names = ("dev", "staging", "prod")
    assert list(dict.fromkeys(shown)) == cli.plan(names, FirstRun.titles("dev", names))


def test_the_module_runs_as_a_command() -> None:
    shown = captured(
        [sys.executable, "-m", "infra.local", "--help"], cwd=Path(__file__).parents[3], check=True
    ).stdout
    for command in ("up", "down", "clean", "status", "airflow"):
        assert command in shown
