"""What code of a commit can see: it runs for real, and tries to find the secrets of whoever started it."""

import json
import os
import re
import socket
import subprocess
import sys
import tracemalloc
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from gitops import isolation
from gitops.airflow.client import Airflow
from gitops.cli import app
from gitops.dvc import run as dvc_run
from tests.support import sinks
from tests.support.engine import engine
from tests.support.lab import ROOT, Lab
from tests.support.waiting import alive, wait_for

SECRETS = {
    "AIRFLOW_CONN_GIT_DEFAULT": "s3cret-connection",  # pragma: allowlist secret
    "AIRFLOW__API_AUTH__JWT_SECRET": "s3cret-jwt",  # pragma: allowlist secret
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://user:s3cret@localhost/db",
    "AWS_SECRET_ACCESS_KEY": "s3cret-bucket",  # pragma: allowlist secret
    "GITHUB_TOKEN": "s3cret-token",  # pragma: allowlist secret
    "GITOPS_ACCESS": "s3cret-access",  # pragma: allowlist secret
    "HTTPS_PROXY": "http://user:s3cret@proxy",
    "SLACK_WEBHOOK": "s3cret-hook",  # pragma: allowlist secret
}

# Code of a commit that looks everywhere a secret could be, and says what it saw.
SPY = """\
import glob, json, os, pathlib, socket, sys

found = {"variables": dict(os.environ), "readable": [], "reached": []}
for path in [*glob.glob("/proc/[0-9]*/environ"), *sys.argv[2:]]:
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError:
        continue
    if b"s3cret" in content:
        found["readable"].append(path)
try:
    with open(f"/proc/{os.getppid()}/mem", "rb") as memory:
        for line in open(f"/proc/{os.getppid()}/maps"):
            if "[heap]" in line or "[stack]" in line:
                memory.seek(int(line.split("-")[0], 16))
                memory.read(1)
                found["readable"].append("the memory of its parent")
except OSError:
    pass
for family, address in json.loads(os.environ.get("ADDRESSES", "[]")):
    try:
        with socket.socket(getattr(socket, family)) as client:
            client.settimeout(5)
            client.connect(tuple(address) if family == "AF_INET" else address)
            found["reached"].append(address)
    except OSError:
        pass
pathlib.Path(sys.argv[1]).write_text(json.dumps(found))
"""


def spy(folder: Path, *paths: Path) -> dict[str, object]:
    """Run the spy as code of the checkout `folder`, and return what it saw."""
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "spy.py").write_text(SPY)
    command = ["python", "-m", "spy", "found.json", *map(str, paths)]
    dvc_run.call(command, folder, timedelta(minutes=1))
    return json.loads((folder / "found.json").read_text())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "checkout").mkdir()
    return tmp_path / "checkout"


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel or a container that permits no namespaces."""
    monkeypatch.setattr(isolation, "namespaces", lambda: False)


needs_namespaces = pytest.mark.skipif(
    not isolation.namespaces(), reason="no user namespaces are permitted here"
)


def test_code_of_a_commit_gets_the_named_variables_alone(
    checkout: Path, secrets: None, without_namespaces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISAGE_HOME", str(checkout.parent))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(checkout / "agent"))
    variables = spy(checkout)["variables"]
    assert isinstance(variables, dict)
    own = {"HOME", "TMPDIR", "PYTHONPATH", "PYTHONUNBUFFERED", "DVC_NO_ANALYTICS", "DVC_SITE_CACHE_DIR"}
    assert variables.keys() <= {*isolation.PASSED_ON, *own}
    assert "s3cret" not in str(variables)
    assert variables["HOME"] != os.environ["HOME"]


@needs_namespaces
def test_code_of_a_commit_sees_no_secret_anywhere(
    checkout: Path, secrets: None, isolated_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not of its parent, of another process of the user, in the home, in the engine, or behind an address."""
    home, engine, data = isolated_home, tmp_path / "engine", tmp_path / "engine" / "prod" / "data"
    files = [home / ".ssh/id_ed25519", home / ".aws/credentials", engine / ".env", data / "origin.git/config"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("s3cret")
    (data / "ours").write_text("data")
    monkeypatch.setenv("VISAGE_PRIVATE", str(engine))
    monkeypatch.setenv("VISAGE_HOME", str(data))
    agent = home / "agent"
    with socket.socket(socket.AF_UNIX) as keys, socket.socket() as server:
        keys.bind(str(agent))
        keys.listen()
        server.bind(("127.0.0.1", 0))
        server.listen()
        addresses = [["AF_UNIX", str(agent)], ["AF_INET", list(server.getsockname())]]
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        monkeypatch.setattr(isolation, "PASSED_ON", (*isolation.PASSED_ON, "ADDRESSES"))
        monkeypatch.setenv("ADDRESSES", json.dumps(addresses))
        found = spy(checkout, *files)
    assert found["readable"] == []
    assert found["reached"] == []


@needs_namespaces
def test_processes_of_a_stage_talk_to_each_other(checkout: Path) -> None:
    """Those of a training that has several. The loopback is that of the stage alone."""
    script = (
        "import socket; server = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(server.getsockname()); "
        "assert [name for _, name in socket.if_nameindex()] == ['lo']"
    )
    dvc_run.call(["python", "-c", script], checkout, timedelta(minutes=1))


@needs_namespaces
def test_code_of_a_commit_writes_to_its_own_folders_alone(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed interpreter, git configuration or copy of the origin would run with the secrets later on."""
    data = tmp_path / "data"
    for folder in (checkout / ".git", data / "origin.git" / "hooks"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("VISAGE_HOME", str(data))
    planted = [
        Path(sys.prefix) / "planted.pth",
        checkout / ".git" / "planted",
        data / "origin.git" / "hooks" / "planted",
        tmp_path / "planted",
    ]
    script = "".join(f"touch {path} 2>/dev/null; " for path in [*planted, checkout / "out", data / "kept"])
    dvc_run.call(["sh", "-c", f"{script} true"], checkout, timedelta(minutes=1))
    assert [path for path in planted if path.exists()] == []
    assert (checkout / "out").exists()
    assert (data / "kept").exists()


@needs_namespaces
def test_code_of_a_commit_cannot_undo_its_isolation(checkout: Path, isolated_home: Path) -> None:
    (isolated_home / "key").write_text("s3cret")
    script = (
        f"umount {isolated_home}; mount -o remount,rw /; unshare -rm umount {isolated_home};"
        f" unshare -rm sh -c 'umount -a; cat {isolated_home}/key'; cat {isolated_home}/key; true"
    )
    capabilities = "grep -c ^Cap.*:.*[1-9a-f] /proc/self/status"
    command = ["sh", "-c", f"( {script} ) > out 2>&1; {capabilities} >> out; true"]
    dvc_run.call(command, checkout, timedelta(minutes=1))
    said = (checkout / "out").read_text()
    assert "s3cret" not in said
    assert said.splitlines()[-1] == "0", "it has no capability, and can get none"


def test_a_process_that_hides_cannot_be_read_by_its_children() -> None:
    """As another user than root, without any namespace: the last resort in a container."""
    script = """if 1:
        import ctypes, os, subprocess, sys
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as it is for a process that changed no user
        module = {"__name__": "isolation", "__file__": "/isolation.py"}
        exec(sys.stdin.read(), module)
        if sys.argv[1] == "hide":
            module["hide"]()
        child = "import os; print(b's3cret' in open(f'/proc/{os.getppid()}/environ', 'rb').read())"
        done = subprocess.run([sys.executable, "-c", child], env={}, capture_output=True, text=True)
        print(done.stdout.strip() or done.stderr.strip().splitlines()[-1])
    """
    # An interpreter that any user can run
    python = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable
    said = {}
    for hide in ("hide", "open"):
        said[hide] = subprocess.run(
            [python, "-c", script, hide],
            input=Path(isolation.__file__).read_text(),
            env=SECRETS,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd="/",
        ).stdout.strip()
    assert said["open"] == "True", "without it, the child reads the variables of its parent"
    assert "PermissionError" in said["hide"]


def named(file: Path, pattern: str) -> set[str]:
    """Return the variables that a file of an engine names."""
    return set(re.findall(pattern, file.read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        ((ROOT / ".env.example",), r"^#? ?([A-Z_]{4,})="),
        ((ROOT / "infra/compose/services.yml",), r"^ +([A-Z_]{4,}):"),
        (tuple((ROOT / "infra/kubernetes/base").glob("*.yaml")), r"(?:name|key): ([A-Z_]{4,})$"),
    ],
    ids=("local", "compose, and its Celery workers", "kubernetes"),
)
def test_no_engine_gives_its_secrets_to_code_of_a_commit(
    files: tuple[Path, ...], pattern: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the process of a task has, of any executor: the code gets a list of names."""
    given = set().union(*(named(file, pattern) for file in files))
    assert given
    for name in given | SECRETS.keys():
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("PATH", os.defpath)
    seen = isolation.variables(home=tmp_path)
    assert {name for name, value in seen.items() if "s3cret" in value} <= {"CELEBA_DIR", "VISAGE_HOME"}


EVIL = """\
import pathlib
from airflow.sdk import dag, task

pathlib.Path({mark!r}).write_text("ran")

@task
def {name}(): ...

@dag(schedule={schedule!r})
def daily():
    {name}()

daily()
"""


def test_on_a_laptop_nothing_of_a_release_is_executed(
    lab: Lab, dvc_remote: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secrets: None
) -> None:
    """Of neither side: diff, report, check, promote and merge read, and the code of main compares."""
    mark = tmp_path / "ran"
    monkeypatch.chdir(lab.clone.path)

    def files(name: str, schedule: str) -> dict[str, bytes]:
        code = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n".encode()
        dag = EVIL.format(mark=str(mark), name=name, schedule=schedule).encode()
        return {"dags/evil_dag.py": dag, "src/face_attributes/__main__.py": code, "src/dvc.py": code}

    before = lab.commit(files("first", "@daily"))
    after = lab.commit(files("second", "@hourly"), on=before)
    lab.origin.git("update-ref", "refs/heads/main", before)
    lab.origin.git("update-ref", "refs/heads/change", after)

    def said(*words: str) -> str:
        return CliRunner().invoke(app, list(words)).output

    shown = said("diff", "--head", "change")
    assert "'@daily' -> '@hourly'" in shown
    assert "task second: added" in shown
    for words in (["report", "--head", "change"], ["check", "--head", "change"], ["promote", "staging"]):
        assert said(*words)
    assert said("merge", "change")
    assert not mark.exists()


def test_dag_files_that_somebody_asks_to_load_see_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secrets: None
) -> None:
    monkeypatch.chdir(lab.clone.path)
    looks = "import glob, pathlib\n"
    looks += "all = [pathlib.Path(p).read_bytes() for p in glob.glob('/proc/[0-9]*/environ')]\n"
    looks += "raise ValueError('airflow DAG ' + str(any(b's3cret' in one for one in all)))\n"
    before = lab.commit({"dags/evil_dag.py": b"# airflow DAG\n"})
    after = lab.commit({"dags/evil_dag.py": looks.encode()}, on=before)
    lab.origin.git("update-ref", "refs/heads/main", before)
    lab.origin.git("update-ref", "refs/heads/change", after)
    shown = CliRunner().invoke(app, ["diff", "--head", "change", "--load-dags"]).output
    assert "airflow DAG False" in shown or "PermissionError" in shown


DAG = """
from datetime import timedelta
from airflow.sdk import dag, task
from visage_dags.dag_defaults import default_dag_args


@task(retries=0)
def look():
    import os, pathlib

    from gitops import tasks

    home = pathlib.Path(os.environ["VISAGE_HOME"])
    command = ["python", "-m", "spy", str(home / "found.json"), str(home.parents[1] / "access.json")]
    tasks.call(command=command, folder=str(home / "release"), minutes=2)


@dag(**default_dag_args("look", due=timedelta(minutes=5)), schedule=None)
def look_around():
    look()


look_around()
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_task_of_the_local_executor_shows_its_secrets_to_nobody(tmp_path: Path) -> None:
    """A real scheduler with LocalExecutor, whose task starts code of its release."""
    with sinks.open_sinks() as servers:
        dags = {
            "look_around_dag.py": DAG.replace('default_dag_args("look"', 'default_dag_args("look_around"')
        }
        own = {name: value for name, value in SECRETS.items() if not name.startswith("AIRFLOW__")}
        with engine(tmp_path, dags, servers, own) as running:
            data = running.instance.paths.data
            (data / "release" / "src").mkdir(parents=True)
            (data / "release" / "src" / "spy.py").write_text(SPY)
            with Airflow(running.access, timeout=60) as airflow:
                wait_for(lambda: any(dag["dag_id"] == "look_around" for dag in airflow.dags()), seconds=120)
                airflow.call("POST", "/api/v2/dags/look_around/dagRuns", {"logical_date": None})
                wait_for(lambda: (data / "found.json").is_file(), seconds=200)
    found = json.loads((data / "found.json").read_text())
    assert "s3cret" not in str(found["variables"])
    assert not any(name.startswith("AIRFLOW") for name in found["variables"])
    if isolation.namespaces() or os.geteuid() != 0:
        assert found["readable"] == []


@needs_namespaces
def test_code_of_a_commit_reaches_no_terminal(checkout: Path) -> None:
    """Of the same user: it could read what somebody types there, and write there."""
    ours, theirs = os.openpty()
    try:
        terminal = os.ttyname(theirs)
        os.write(ours, b"s3cret\n")
        script = f"( head -n 1 {terminal}; echo typed > {terminal} ) > out 2>&1; true"
        dvc_run.call(["timeout", "5", "sh", "-c", script], checkout, timedelta(minutes=1))
    finally:
        os.close(ours)
        os.close(theirs)
    said = (checkout / "out").read_text()
    assert "s3cret" not in said
    assert "No such file" in said


@needs_namespaces
def test_code_of_a_commit_reaches_no_key_that_the_kernel_keeps(checkout: Path) -> None:
    """A session has a keyring, which the processes of all its namespaces share."""
    script = """if 1:
        import ctypes, os, sys
        number = {"x86_64": 248, "aarch64": 217, "riscv64": 217}[os.uname().machine]
        add, keyctl, session = number, number + 2, ctypes.c_int(-3)
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.argv[1] == "read":
            found = libc.syscall(keyctl, 10, session, b"user", b"visage", 0)
            content = ctypes.create_string_buffer(64)
            libc.syscall(keyctl, 11, found, content, 64)
            print("read", content.value.decode())
        else:
            libc.syscall(keyctl, 1, None)
            if libc.syscall(add, b"user", b"visage", b"s3cret", 6, session) < 0:
                sys.exit("this machine permits no keyrings")
            os.execvp(sys.argv[2], sys.argv[2:])
    """
    place = isolation.Place(writable=(checkout,))
    read = [sys.executable, "-c", script, "read"]
    said: dict[bool, str] = {}
    with isolation.isolated(place) as isolated:
        for apart in (False, True):
            command = [sys.executable, "-c", script, "add", *(isolated.prefix if apart else ()), *read]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            if "permits no keyrings" in done.stderr:
                pytest.skip(done.stderr.strip())
            said[apart] = done.stdout.strip()
    assert said == {False: "read s3cret", True: "read"}


@needs_namespaces
@pytest.mark.parametrize("name", ["comparisons", "origin.git", "workspaces"])
def test_code_of_a_commit_makes_no_folder_that_its_environment_trusts(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """On a new machine, where none of them exists yet."""
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("VISAGE_HOME", str(data))
    planted = data / name / "planted"
    script = f"mkdir -p {planted.parent} && touch {planted} {data}/kept; true"
    dvc_run.call(["sh", "-c", script], checkout, timedelta(minutes=1))
    assert (data / "kept").exists()
    assert not planted.exists()


@needs_namespaces
@pytest.mark.parametrize("variable", ["CELEBA_DIR", "VISAGE_HOME"])
def test_a_link_in_a_home_folder_leads_to_the_data(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Home folders are hidden, and people keep links to large disks there."""
    disk, link = tmp_path / "disk" / "faces", tmp_path / "home" / "deep" / "faces"
    disk.mkdir(parents=True)
    (disk / "1.jpg").write_text("a face")
    link.parent.mkdir(parents=True)
    link.symlink_to(disk)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(variable, str(link))
    dvc_run.call(["sh", "-c", f"cat {link}/1.jpg > seen"], checkout, timedelta(minutes=1))
    assert (checkout / "seen").read_text() == "a face"


LOUD = "import sys\nfor _ in range(40):\n    sys.{0}.write('x' * 1_000_000)\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_code_that_prints_without_end_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(dvc_run.log, "disabled", True)  # since pytest keeps the log
    loud = [sys.executable, "-c", LOUD.format(stream) + f"print('the end', file=sys.{stream})"]
    tracemalloc.start()
    try:
        with isolation.isolated(isolation.Place()) as place:
            done = isolation.run(loud, place, tmp_path, timeout=60)
        dvc_run.call(loud, tmp_path, timedelta(minutes=1))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert done.output.endswith("xthe end\n" if stream == "stdout" else "")
    assert done.last_line.endswith("xthe end" if stream == "stderr" else "")
    assert peak < 25_000_000, peak


@pytest.mark.parametrize("timeout", [60, 1])
def test_no_process_of_a_command_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout: int
) -> None:
    """Where there are no namespaces, whose end would be that of each process in them."""
    monkeypatch.setattr(isolation, "namespaces", lambda: False)
    note = tmp_path / "child"
    own = "time.sleep(600)" if timeout == 1 else ""
    lines = ("import os, time", "if not (child := os.fork()):", "    time.sleep(600)")
    code = "\n".join([*lines, f"open({str(note)!r}, 'w').write(str(child))", own])
    ends = pytest.raises(subprocess.TimeoutExpired) if own else nullcontext()
    with isolation.isolated(isolation.Place()) as place, ends:
        isolation.run([sys.executable, "-c", code], place, tmp_path, timeout)
    process = int(note.read_text())
    wait_for(lambda: not psutil.pid_exists(process) or not alive(psutil.Process(process)), seconds=10)


@needs_namespaces
def test_an_interpreter_behind_a_link_runs(tmp_path: Path) -> None:
    """A `.venv` may be a link, in a folder that code of a commit does not see."""
    venv = tmp_path / ".venv"
    venv.symlink_to(sys.prefix)
    code = """
import sys
from pathlib import Path
from gitops import isolation
home = Path(sys.argv[1])
home.mkdir()
with isolation.isolated(isolation.Place(writable=(home,)), {}) as place:
    done = isolation.run([sys.executable, "-c", "print('it runs')"], place, home, 60)
print(done.output, done.last_line)
"""
    command = [str(venv / "bin" / "python"), "-c", code, str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "it runs" in done.stdout, done.stdout + done.stderr


MANY = """\
import os, sys, time

for number in range(int(sys.argv[1])):
    try:
        if not os.fork():
            time.sleep(60)
            os._exit(0)
    except OSError as error:
        print(error.strerror, number)
        break
else:
    print("all")
"""


@pytest.mark.parametrize(("wanted", "gets"), [(1000, "Resource temporarily unavailable"), (100, "all")])
def test_a_stage_has_a_limit_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: int, gets: str
) -> None:
    if not isolation.namespaces():
        pytest.skip("this machine permits no user namespaces")
    if os.geteuid() == 0 and tuple(map(int, re.findall(r"[0-9]+", os.uname().release)[:2])) < (6, 14):
        pytest.skip("before Linux 6.14 nothing limits root")
    monkeypatch.setattr(isolation, "PROCESSES", 400)
    with isolation.isolated(isolation.Place(writable=(tmp_path,)), temporary=tmp_path) as isolated:
        done = isolation.run(["python", "-S", "-c", MANY, str(wanted)], isolated, tmp_path, 60)
    assert done.output.startswith(gets), done
    if wanted > 400:
        assert int(done.output.split()[-1]) <= 400
