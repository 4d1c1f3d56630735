"""An environment brought up by a Docker engine, with the commands of the guide: make test-compose."""

import json
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from gitops.airflow import Access
from infra.local import port
from infra.local.task import ENDED, Runs
from infra.local.training import DAG
from infra.local.variables import USERNAME
from tests.infra.local.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
VARIABLE = "tested"

pytestmark = [pytest.mark.docker, pytest.mark.timeout(3000)]


@dataclass(frozen=True)
class Stack:
    """A clone of this checkout whose dev is up, under a name and on a port that nobody else has."""

    checkout: Path
    variables: dict[str, str]
    port: int

    def run(self, *command: str, seconds: float = 600) -> str:
        """Run a command in the clone and return what it printed."""
        found = subprocess.run(
            command,
            cwd=self.checkout,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert found.returncode == 0, f"{command}\n{found.stdout[-4000:]}\n{found.stderr[-4000:]}"
        return found.stdout

    def compose(self, *command: str, seconds: float = 600) -> str:
        """Run docker compose."""
        return self.run("docker", "compose", *command, seconds=seconds)

    def airflow(self, *command: str) -> str:
        """Run a command of Airflow as the guide does."""
        return self.compose("exec", "-T", "airflow-scheduler", "airflow", *command)

    @property
    def access(self) -> Access:
        """Where its web interface is."""
        return Access(url=f"http://127.0.0.1:{self.port}", username=USERNAME, password=SecretStr("airflow"))

    def states(self) -> dict[str, str]:
        """Service -> its health, or its state where it has none."""
        lines = self.compose("ps", "--format", "json").splitlines()
        found = [json.loads(line) for line in lines]
        return {one["Service"]: one["Health"] or one["State"] for one in found}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if shutil.which("docker") is None:
        pytest.fail("docker: not on PATH; make test-compose needs a Docker engine", pytrace=False)
    folder = tmp_path_factory.mktemp("stack")
    checkout = folder / "visage"
    variables = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": f"visage-test-{secrets.token_hex(3)}",
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", f"{pwd.getpwuid(os.getuid()).pw_dir}/.docker"),
        "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }
    found = Stack(checkout, variables, port.unused())
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True, timeout=60)
    settings = checkout / "environments/dev/settings.env"
    content = settings.read_text()
    assert "\nWEB_PORT=8080\n" in content
    settings.write_text(content.replace("\nWEB_PORT=8080\n", f"\nWEB_PORT={found.port}\n"))
    found.run("git", "commit", "--quiet", "--all", "--message", "Listen where nobody does")
    try:
        found.run("scripts/init_airflow.sh", seconds=1800)
        found.compose("up", "--detach", "--wait", "--wait-timeout", "300")
        yield found
    finally:
        if (checkout / ".env").exists():
            found.compose("--profile", "celery", "down", "--volumes", "--timeout", "20")


def test_everything_is_healthy(stack: Stack) -> None:
    assert stack.states() == {
        "postgres": "healthy",
        "s3": "healthy",
        "airflow-webserver": "healthy",
        "airflow-scheduler": "healthy",
        "airflow-dag-processor": "healthy",
        "airflow-triggerer": "healthy",
    }


def test_initialising_again_changes_nothing(stack: Stack) -> None:
    before = (stack.checkout / ".env").read_text()
    said = stack.run("scripts/init_airflow.sh")
    assert ".env: complete" in said
    assert (stack.checkout / ".env").read_text() == before
    assert (stack.checkout / ".env").stat().st_mode & 0o077 == 0


def test_the_user_of_the_guide_logs_in_and_nobody_else(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.port}/auth/token"
    known = requests.post(url, json={"username": "airflow", "password": "airflow"}, timeout=20)
    assert known.status_code == 201
    unknown = requests.post(url, json={"username": "airflow", "password": "Airflow"}, timeout=20)
    assert unknown.status_code == 401


def test_the_image_has_no_compiler_and_no_dag_and_says_its_lock(stack: Stack) -> None:
    # Where something is found, `!` makes it a failure.
    look = "! command -v gcc cc make && ! find /opt -name '*_dag.py' -path '/opt/engine/*' | grep . && id -u"
    assert int(stack.compose("run", "--rm", "--no-deps", "-T", "airflow-init", "bash", "-c", look)) > 0
    label = '{{index .Config.Labels "visage.lock.sha256"}}'
    said = stack.run("docker", "image", "inspect", "--format", label, "visage-airflow:local").strip()
    assert said == stack.run("sha256sum", "requirements.lock").split()[0]


def test_the_logs_of_the_guide(stack: Stack) -> None:
    assert "Uvicorn running" in stack.compose("logs", "airflow-webserver")


def test_a_training_runs_to_its_end(stack: Stack) -> None:
    airflow = Runs(stack.access, timeout=30)
    wait_for(lambda: any(dag["dag_id"] == DAG for dag in airflow.dags()), seconds=180)
    airflow.unpause(DAG)
    # Its schedule starts one of the full size at once, which would take much longer.
    wait_for(lambda: airflow.runs(DAG), seconds=60)
    airflow.withdraw(DAG, airflow.runs(DAG)[0].id)
    stack.airflow("dags", "trigger", DAG, "--run-id", "small", "--conf", '{"profile": "small"}')
    wait_for(lambda: airflow.run(DAG, "small").state in ENDED, seconds=1800)
    assert airflow.run(DAG, "small").state == "success"
    assert (stack.checkout / ".compose/store/visage/files/md5").is_dir()


def test_a_service_can_be_restarted(stack: Stack) -> None:
    stack.compose("restart", "airflow-scheduler")
    wait_for(lambda: stack.states()["airflow-scheduler"] == "healthy", seconds=180)


def test_what_was_saved_comes_back(stack: Stack) -> None:
    stack.airflow("variables", "set", VARIABLE, "before")
    stack.run("scripts/backup.sh", "dev", "saved")
    stack.airflow("variables", "set", VARIABLE, "after")
    damaged = stack.checkout / "damaged"
    shutil.copytree(stack.checkout / "saved", damaged)
    with (damaged / "home.tar").open("ab") as file:
        file.write(b"x")
    with pytest.raises(AssertionError, match="damaged; nothing was changed"):
        stack.run("scripts/restore.sh", "dev", "damaged")
    stack.run("scripts/restore.sh", "dev", "saved", seconds=900)
    # Encrypted in the database by a key that came back too.
    assert stack.airflow("variables", "get", VARIABLE).split()[-1] == "before"


def test_down_keeps_the_database_and_down_v_does_not(stack: Stack) -> None:
    name = stack.variables["COMPOSE_PROJECT_NAME"]

    def volumes() -> list[str]:
        return stack.run("docker", "volume", "ls", "--quiet", "--filter", f"name={name}").split()

    stack.compose("down")
    assert f"{name}_database" in volumes()
    stack.compose("down", "--volumes")
    assert volumes() == []
    assert (stack.checkout / ".compose/origin.git").is_dir()
