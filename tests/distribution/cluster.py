"""One environment with CeleryExecutor on machines that share git, the S3 store, the broker and the database.

Nothing else: not a disk, not a cache, not a user.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from gitops.airflow.client import Access, UnreachableError
from gitops.git.repository import Repository
from gitops.release import settings
from infra.local import port, process, secret, variables, waiting
from infra.local.task import Runs
from infra.local.training import DAG
from tests.distribution import servers
from tests.distribution.machine import ROOT, Machine
from tests.faults.server import Server, git_daemon, s3
from tests.support.waiting import alive, wait_for

BUCKET = "visage"
_SCHEDULES = {
    "dags/ml_pipeline_dag.py": b'schedule="@daily"',
    "dags/score_faces_dag.py": b"schedule=[INCOMING]",
}
_HOSTNAME = "import os\n\n\ndef name() -> str:\n    return os.environ['MACHINE']\n"


class Cluster:
    """A dev environment whose scheduler, api-server and dag-processor are on one machine; no worker yet.

    :param folder: An empty folder that every user can reach.
    :param data: One data folder for all machines, as scoring needs it; else each has its own.
    """

    def __init__(self, folder: Path, *, data: Path | None = None) -> None:
        self.folder, self._data = folder, data
        self._state, self._output, self._library = (folder / name for name in ("state", "output", "library"))
        for path in (self._state, self._output, self._library):
            path.mkdir()
        (self._library / "machine_name.py").write_text(_HOSTNAME)
        self._machines = 0
        self._servers: list[Server] = []
        self.store = folder / "servers" / "store"
        (self.store / BUCKET).mkdir(parents=True)
        (folder / "servers").chmod(0o711)  # the database's own user passes through
        for path in (self.store, self._output):
            path.chmod(0o700)
        try:
            self._serve()
        except BaseException:
            self.close()
            raise

    def _serve(self) -> None:
        self.origin = self._make_origin()
        password = "of-redis"  # pragma: allowlist secret
        git = git_daemon(self.origin.path.parent, self._output / "git.log")
        store = s3(self.store, self._output / "s3.log")
        redis = servers.redis(self.folder / "servers", self._output / "redis.log", password)
        database = servers.postgresql(self.folder / "servers" / "database", self._output / "postgresql.log")
        for server in (git, store, redis, database):
            self._servers.append(server)
            server.start()
        web = port.unused()
        self._variables = self._derive(web) | {
            "AIRFLOW__CELERY__BROKER_URL": f"redis://:{password}@127.0.0.1:{redis.port}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://airflow@127.0.0.1:{database.port}/postgres",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
                f"postgresql+psycopg2://airflow@127.0.0.1:{database.port}/postgres"
            ),
            "AIRFLOW_CONN_GIT_DEFAULT": json.dumps(
                {"conn_type": "git", "host": f"git://127.0.0.1:{git.port}/origin.git"}
            ),
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{store.port}",
        }
        control = self.machine("control")
        for command in (["db", "migrate"], ["pools", "import", str(ROOT / "infra/pools.json")]):
            done = control.run([sys.executable, "-m", "airflow", *command], self._variables)
            assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        self.start(control, "api-server", ["api-server"])
        access = Access(url=f"http://127.0.0.1:{web}", username=variables.USERNAME, password="password")
        self.airflow = Runs(access, timeout=60)
        wait_for(self._answers, seconds=180, pause=1)
        self.start(control, "scheduler", ["scheduler", "--skip-serve-logs"])
        self.start(control, "dag-processor", ["dag-processor"])
        wait_for(lambda: any(dag["dag_id"] == DAG for dag in self.airflow.dags()), seconds=180, pause=1)

    def _make_origin(self) -> Repository:
        origin = Repository.clone(str(ROOT), self.folder / "servers" / "origins" / "origin.git", "--bare")
        origin.path.parent.chmod(0o700)
        origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
        origin.git("config", "receive.shallowUpdate", "true")
        self.head = head = Repository(ROOT).resolve("HEAD")
        changed = {}
        for dag, schedule in _SCHEDULES.items():
            before = origin.read(head, dag) or b""
            changed[dag] = before.replace(schedule, b"schedule=None")
            assert changed[dag] != before, dag
        commit = origin.commit_files(head, changed, "Leave the runs to the test")
        origin.git("update-ref", "refs/heads/main", commit)
        return origin

    def move_main(self, commit: str) -> None:
        """Make a commit the head of main, and wait until it is what runs."""
        self.origin.git("update-ref", "refs/heads/main", commit)

        def runs() -> bool | None:
            return {dag["bundle_version"] for dag in self.airflow.dags()} == {commit} or None

        assert waiting.wait_until(runs, seconds=300, pause=1), self._last_output()

    def _derive(self, web: int) -> dict[str, str]:
        secrets = secret.load(self.folder / "secrets.json")
        return {
            **variables.inherit({"PATH": "/usr/bin:/bin"}),
            **settings.load("dev", ROOT).variables,
            "ACTIVE_DAGS": "",
            "TASK_RETRY_SECONDS": "1",
            "WEB_PORT": str(web),
            "AIRFLOW__API__BASE_URL": f"http://localhost:{web}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(web),
            "AIRFLOW__API__SECRET_KEY": secrets.api_secret_key,
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.jwt_secret,
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{web}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__FERNET_KEY": secrets.fernet_key,
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "machine_name.name",
            # How soon it is noticed that a task's machine is gone, in seconds.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW_CONN_FS_DEFAULT": json.dumps({"conn_type": "fs"}),
            "AWS_ACCESS_KEY_ID": "user",
            "AWS_SECRET_ACCESS_KEY": "password",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "DVC_NO_ANALYTICS": "1",
            "DO_NOT_TRACK": "1",
            "SPT_NOENV": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(self._library),
            process.INSTANCE: str(self._state),
        }

    def machine(self, name: str, cores: str | None = None) -> Machine:
        """Add a machine."""
        machine = Machine.make(self.folder, self._machines, name, self._data, cores)
        self._machines += 1
        config = (
            "[core]\n    remote = storage\n    analytics = false\n    check_update = false\n"
            f"['remote \"storage\"']\n    url = s3://{BUCKET}\n"
            f'[cache]\n    dir = {machine.home / "cache"}\n    type = "hardlink,symlink"\n'
        )
        (machine.home / "dvc" / "config").write_text(config)
        (machine.home / "passwords.json").write_text(json.dumps({variables.USERNAME: "password"}))
        machine.own()
        return machine

    def start_worker(self, machine: Machine) -> None:
        """Start a worker that takes one task at a time, and wait until it does."""
        command = ["celery", "worker", "--skip-serve-logs", "--celery-hostname", machine.name]
        log = self.start(machine, machine.name, command)
        before = log.stat().st_size
        wait_for(lambda: b"ready." in log.read_bytes()[before:], seconds=180, pause=0.5)

    def start(self, machine: Machine, name: str, command: Sequence[str]) -> Path:
        """Start a process of Airflow on a machine, and return its log."""
        path = self._output / f"{name}.log"
        with path.open("ab") as log:
            subprocess.Popen(
                machine.command([sys.executable, "-m", "airflow", *command]),
                cwd=machine.home,
                env={**self._variables, **machine.variables, process.SERVICE: name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return path

    def running(self, name: str) -> list[psutil.Process]:
        """Return what runs of a process of Airflow, and of what it has started."""
        found = process.belonging(self._state)
        return [one for one in found if process.service_of(one) == name and alive(one)]

    def kill(self, name: str) -> None:
        """End a process of Airflow and all that it has started, as when its machine's plug is pulled."""
        victims = self.running(name)
        assert victims, f"{name} does not run"
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=20)

    def attempts(self, dag: str, run: str) -> list[dict[str, Any]]:
        """Return each task's latest attempt as Airflow's database has it."""
        path = f"/api/v2/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances?limit=100"
        return list(self.airflow.call("GET", path)["task_instances"])

    def hosts(self, dag: str, run: str) -> dict[str, str]:
        """Return the machine of each of them."""
        return {one["task_id"]: one["hostname"] for one in self.attempts(dag, run) if one["hostname"]}

    def trouble(self, dag: str, run: str) -> str:
        """Say what a run has come to, and what every process has said last."""
        states = {one.name: (one.state, one.attempt) for one in self.airflow.tasks(dag, run)}
        return f"{states}\n{self._last_output()}"

    def _last_output(self) -> str:
        logs = [
            *sorted(self._output.glob("*.log")),
            *sorted(self.folder.glob("*/airflow/logs/dag_id=*/**/*.log")),
        ]
        tails = [f"--- {log.relative_to(self.folder)}\n{log.read_text()[-1500:]}" for log in logs[-12:]]
        return "\n".join(tails)

    def _answers(self) -> bool:
        log = (self._output / "api-server.log").read_text()[-3000:]
        assert self.running("api-server"), log
        try:
            return self.airflow.health()["metadatabase"] == "healthy"
        except UnreachableError:
            return False

    def close(self) -> None:
        """End all that runs."""
        process.end(process.belonging(self._state), grace=5)
        for server in reversed(self._servers):
            server.kill()


@contextmanager
def temporary() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="visage-cluster-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)
