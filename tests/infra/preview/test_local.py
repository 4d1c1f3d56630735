"""Previews on the local engine: their place, their end, and a real Airflow that is started and killed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from gitops.airflow.client import Airflow, load_access
from gitops.git.repository import Repository
from infra.local import port
from infra.local.database import Embedded
from infra.local.errors import BusyError
from infra.local.lock import exclusive
from infra.local.process import belonging
from infra.local.screen import Screen, Step
from infra.preview import record
from infra.preview.local import LocalHost, LocalPreview
from infra.preview.record import Preview, name_of
from tests.infra.preview.conftest import BRANCH, Bench
from tests.support.command import captured
from tests.support.waiting import wait_for

SECRET = "s3cret-of-dev"  # pragma: allowlist secret
ROOT = Path(__file__).resolve().parents[3]


def screen() -> Screen:
    return Screen(Console(file=io.StringIO()))


def host(bench: Bench, **shell: str) -> LocalHost:
    return LocalHost(bench.layout, {**os.environ, "AWS_SECRET_ACCESS_KEY": SECRET, **shell})


def preview(branch: str = BRANCH, hours: float = 8, lived: float = 0) -> Preview:
    now = datetime.now(UTC)
    return Preview(branch=branch, commit="a" * 40, port=20_200, since=now, hours=hours, lived=lived)


def remember(bench: Bench, *previews: Preview) -> None:
    for one in previews:
        record.write(bench.layout.previews / one.name, one)


SPY = """
import json, os, pathlib, sys

found = {"read": [], "written": [], "processes": 0}
for path in json.loads(sys.argv[1]):
    try:
        pathlib.Path(path).read_bytes()
        found["read"].append(path)
    except OSError:
        pass
for path in json.loads(sys.argv[2]):
    try:
        pathlib.Path(path).write_text("changed")
        found["written"].append(path)
    except OSError:
        pass
found["processes"] = len([name for name in os.listdir("/proc") if name.isdigit()])
print(json.dumps(found))
"""


def test_a_preview_sees_no_secret_and_writes_to_nothing_of_others(bench: Bench) -> None:
    layout, name = bench.layout, name_of(BRANCH)
    secrets = [
        layout.checkout / ".env",
        layout.access,
        layout.paths_of("dev").secrets,
        layout.paths_of("dev").verifier_key,
        layout.paths_of("dev").data / "photograph.jpg",
        layout.database / "connection.json",
        layout.previews / "preview-other" / record.FILE,
        layout.previews / name / ".visage" / "supervisor" / "supervisord.conf",
    ]
    model = layout.dvc_remote / "files/md5/ab/cd"
    for path in (*secrets, model):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET)
    place = LocalPreview(layout, name, {})
    prefix = place.prefix()
    own = place.layout.paths_of(name)
    writes = [
        *secrets,
        model,
        model.with_name("new"),
        ROOT / "src/gitops/new.py",
        own.root / "new",
        own.logs / "new",
    ]
    allowed = own.data / "new"
    arguments = [json.dumps([*map(str, (*secrets, model))]), json.dumps([*map(str, (*writes, allowed))])]
    done = captured([*prefix, sys.executable, "-c", SPY, *arguments], check=True)
    found = json.loads(done.stdout)
    assert found["read"] == [str(model)]
    # Files that it writes into the empty folders that hide others are gone with it.
    assert allowed.read_text() == "changed"
    assert model.read_text() == SECRET
    assert all(path.read_text() == SECRET for path in secrets)
    assert not any(path.exists() for path in writes[len(secrets) + 1 :])
    assert found["processes"] < 5


def test_the_processes_of_a_preview_get_no_variable_that_holds_a_secret(bench: Bench) -> None:
    (bench.layout.checkout / ".env").write_text(
        f"AIRFLOW_CONN_SMTP_DEFAULT={SECRET}\nVISAGE_DATABASE_URL={SECRET}\n"
    )
    place = LocalPreview(bench.layout, name_of(BRANCH), {"GITHUB_TOKEN": SECRET, "HOME": SECRET, "LANG": "C"})
    engine = place.engine()
    assert SECRET not in str(engine.shell)
    assert engine.shell["LANG"] == "C"
    assert engine.user_config.engine == {}
    assert isinstance(engine.database, Embedded)
    assert engine.database.folder.is_relative_to(place.layout.state)


def test_previews_end_when_their_time_is_over_and_the_others_stay(bench: Bench) -> None:
    remember(bench, preview(), preview("older", hours=1, lived=0.9), preview("old", hours=1, lived=0.2))
    (bench.layout.previews / name_of("older") / ".visage" / "deep").mkdir(parents=True)
    host(bench).tend(0.2, datetime.now(UTC), screen())
    left = {one.branch: one.lived for one in record.read_all(bench.layout.previews)}
    assert left == {BRANCH: 0.2, "old": 0.4}
    assert not (bench.layout.previews / name_of("older")).exists()


def test_a_clock_that_was_put_back_prolongs_no_preview(bench: Bench) -> None:
    remember(bench, preview(hours=1))
    past = datetime.now(UTC) - timedelta(days=365)
    host(bench).tend(0.6, past, screen())
    assert len(record.read_all(bench.layout.previews)) == 1
    host(bench).tend(0.6, past, screen())
    assert record.read_all(bench.layout.previews) == []


def test_two_commands_at_once_wait_for_each_other(bench: Bench) -> None:
    remember(bench, preview(hours=0))
    with exclusive(bench.layout.previews / "lock", "gitops preview up wider"):
        for command in (
            lambda: host(bench).tend(1, datetime.now(UTC), screen()),
            lambda: host(bench).down(BRANCH, screen()),
            lambda: host(bench).up(BRANCH, "a" * 40, 8, Step(screen(), "up")),
        ):
            with pytest.raises(BusyError, match=r"gitops preview up wider .* is running here"):
                command()
    assert len(record.read_all(bench.layout.previews)) == 1


def test_a_removal_that_was_interrupted_is_finished(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(bench, preview())
    folder = bench.layout.previews / name_of(BRANCH)
    (folder / ".visage").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            host(bench).down(BRANCH, screen())
    assert [one.state for one in host(bench).all(datetime.now(UTC))] == ["ending"]
    host(bench).tend(0, datetime.now(UTC), screen())
    assert not folder.exists()


def test_a_preview_that_is_not_there_cannot_be_taken_down(bench: Bench) -> None:
    assert host(bench).down(BRANCH, screen()) is False
    assert host(bench).all(datetime.now(UTC)) == []


def test_the_process_that_ends_previews_runs_as_long_as_there_are_some(bench: Bench) -> None:
    own = host(bench)
    own.provide()
    assert own.keeper.find() is None
    remember(bench, preview())
    own.provide()
    first = own.keeper.find()
    own.provide()
    assert first is not None
    assert own.keeper.find() == first
    first.kill()
    wait_for(lambda: own.keeper.find() not in (None, first), seconds=30)
    (bench.layout.previews / name_of(BRANCH) / record.FILE).write_text("broken")
    assert own.stop(Step(screen(), "stop")) == ["previews"]
    assert belonging(bench.layout.state, "previews") == []


@pytest.mark.long
def test_a_branch_runs_in_a_real_airflow_until_it_is_taken_down(bench: Bench) -> None:
    """Up, moved, and killed at any second, twice; then gone without a trace."""
    own, name = host(bench), name_of(BRANCH)
    commit = bench.push({"dags/more.py": b"MORE = 1\n"})
    place = LocalPreview(bench.layout, name, {})
    command = [sys.executable, "-c", UP, str(bench.layout.checkout), BRANCH]
    for seconds in (0.5, 2, 8, 20):
        interrupted = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(seconds)
        os.killpg(interrupted.pid, signal.SIGKILL)
        interrupted.wait()
    running = own.up(BRANCH, commit, 8, Step(screen(), "up"))
    assert [one.state for one in own.all(datetime.now(UTC))] == ["up"]
    release = Repository(place.layout.origin).resolve("main")
    access = load_access(place.layout.access)[name]
    with Airflow(access, timeout=60) as airflow:
        wait_for(lambda: release in _served(place), seconds=90)
        airflow.dags()
    for process in belonging(place.layout.state):
        try:
            assert SECRET not in str(process.environ())
        except psutil.NoSuchProcess:
            continue
    moved = bench.push({"dags/less.py": b"LESS = 1\n"})
    again = own.up(BRANCH, moved, 8, Step(screen(), "up"))
    assert again.url == running.url
    newer = Repository(place.layout.origin).resolve("main")
    assert newer != release
    wait_for(lambda: newer in _served(place), seconds=90)
    killed = subprocess.Popen(
        [sys.executable, "-c", DOWN, str(bench.layout.checkout), BRANCH], cwd=ROOT, start_new_session=True
    )
    time.sleep(3)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    own.down(BRANCH, screen())
    assert own.all(datetime.now(UTC)) == []
    assert belonging(place.layout.state) == []
    assert not place.layout.checkout.exists()
    number = again.preview.port
    assert port.is_free(number)
    assert port.is_free(number + 100)
    assert not list(bench.layout.dvc_remote.iterdir())


def _served(place: LocalPreview) -> str:
    found = place.layout.paths_of(place.name).bundles.glob("*/release.json")
    return "".join(path.read_text() for path in found)


UP = """
import io, os, sys
from pathlib import Path
from rich.console import Console
from gitops.git.repository import Repository
from infra.local.layout import Layout
from infra.local.screen import Screen, Step
from infra.preview.local import LocalHost

os.umask(0o077)
layout = Layout(Path(sys.argv[1]))
commit = Repository(layout.origin).resolve(sys.argv[2])
step = Step(Screen(Console(file=io.StringIO())), "up")
LocalHost(layout, dict(os.environ)).up(sys.argv[2], commit, 8, step)
"""
DOWN = """
import io, os, sys
from pathlib import Path
from rich.console import Console
from infra.local.layout import Layout
from infra.local.screen import Screen
from infra.preview.local import LocalHost

LocalHost(Layout(Path(sys.argv[1])), dict(os.environ)).down(sys.argv[2], Screen(Console(file=io.StringIO())))
"""
