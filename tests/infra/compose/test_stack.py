"""Environments brought up by a Docker engine, with the commands of the guide: make test-compose.

The tests build on one another: what a training made is promoted, taken back, scored with, saved.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from gitops.git.repository import Repository
from gitops.training.candidate import candidate_branch
from infra.local import port
from infra.local.training import DAG
from tests.infra.compose.stack import Stack
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
GITOPS = str(Path(sys.executable).with_name("gitops"))
VARIABLE = "tested"
SMALL = '{"profile": "small"}'
SERVICES = (
    "git",
    "postgres",
    "s3",
    *(f"airflow-{name}" for name in ("webserver", "scheduler", "dag-processor", "triggerer")),
)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Dev, up in a fresh clone in which the full profile is as quick as the small one."""
    if shutil.which("docker") is None:
        pytest.fail("docker: not on PATH; make test-compose needs a Docker engine", pytrace=False)
    folder = tmp_path_factory.mktemp("stack")
    checkout = folder / "visage"
    variables = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": f"visage-test-{secrets.token_hex(3)}",
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", f"{pwd.getpwuid(os.getuid()).pw_dir}/.docker"),
        "DVC_GLOBAL_CONFIG_DIR": str(checkout / ".compose/dvc-config"),
        "DVC_SITE_CACHE_DIR": str(folder / "dvc-site-cache"),
        "GITOPS_REMOTE": "compose",
        "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }
    found = Stack(checkout, variables, "dev", port.unused())
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True, timeout=60)
    listen(found, "8080")
    params = checkout / "params.yaml"
    found.run(sys.executable, "-m", "face_attributes", "profile", "small", PYTHONPATH=str(checkout / "src"))
    content = params.read_text()
    assert "\nprofile: small\n" in content
    params.write_text(content.replace("\nprofile: small\n", "\nprofile: full\n"))
    found.run("git", "commit", "--quiet", "--all", "--message", "Listen where nobody does, and train quickly")
    try:
        found.run("scripts/init_airflow.sh", seconds=1800)
        found.compose("up", "--detach", "--wait", "--wait-timeout", "300")
        yield found
    finally:
        if (checkout / ".env").exists():
            found.compose("--profile", "celery", "down", "--volumes", "--timeout", "20")


def listen(stack: Stack, usual: str) -> None:
    """Have an environment use its own port instead of the usual one."""
    settings = stack.checkout / f"environments/{stack.environment}/settings.env"
    content = settings.read_text()
    assert f"\nWEB_PORT={usual}\n" in content
    settings.write_text(content.replace(f"\nWEB_PORT={usual}\n", f"\nWEB_PORT={stack.port}\n"))


@pytest.fixture(scope="module")
def staging(stack: Stack) -> Iterator[Stack]:
    """Staging beside it, brought up as make does it."""
    name = f"{stack.project}-staging"
    found = replace(
        stack,
        environment="staging",
        port=port.unused(),
        variables={**stack.variables, "COMPOSE_PROJECT_NAME": name},
    )
    listen(found, "8081")
    try:
        said = found.run("make", "compose", "ENV=staging", seconds=1200)
        assert f"staging is up: http://staging.localhost:{found.port}, user airflow; its password: " in said
        yield found
    finally:
        found.compose("down", "--volumes", "--timeout", "20")


def test_everything_is_healthy(stack: Stack) -> None:
    assert stack.states() == dict.fromkeys(SERVICES, "healthy")


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


def test_the_page_is_shown_to_who_is_logged_in(stack: Stack) -> None:
    page = f"http://127.0.0.1:{stack.port}/visage/"
    assert requests.get(page, timeout=60).status_code == 401
    with stack.rest() as airflow:
        session = {"Authorization": f"Bearer {airflow._log_in()}"}
    shown = requests.get(page, headers=session, timeout=60)
    assert shown.status_code == 200
    assert "Visage dev" in shown.text


def test_the_image_has_no_compiler_and_no_dag_and_says_its_lock(stack: Stack) -> None:
    # Where something is found, `!` makes it a failure.
    look = "! command -v gcc cc make && ! find /opt -name '*_dag.py' -path '/opt/engine/*' | grep . && id -u"
    assert int(stack.compose("run", "--rm", "--no-deps", "-T", "airflow-init", "bash", "-c", look)) > 0
    label = '{{index .Config.Labels "visage.lock.sha256"}}'
    said = stack.run("docker", "image", "inspect", "--format", label, "visage-airflow:local").strip()
    assert said == stack.run("sha256sum", "requirements.lock").split()[0]


def test_the_logs_of_the_guide(stack: Stack) -> None:
    assert "Uvicorn running" in stack.compose("logs", "airflow-webserver")


def test_a_run_of_ones_own_goes_before_the_one_that_is_due(stack: Stack) -> None:
    with stack.rest() as airflow:
        wait_for(lambda: any(dag["dag_id"] == DAG for dag in airflow.dags()), seconds=180, pause=1)
        stack.airflow("dags", "trigger", DAG, "--run-id", "small", "--conf", SMALL)
        time.sleep(40)  # as docs/compose.md says
        stack.airflow("dags", "unpause", DAG)
        stack.finish(DAG, "small")
        others = [run for run in airflow.runs(DAG, limit=5) if run.id != "small"]
        assert all(run.state in ("queued", "running") for run in others), "the one that is due had to wait"
        wait_for(lambda: due(stack), seconds=60, pause=1)
    assert (stack.checkout / ".compose/store/visage/files/md5").is_dir()


def due(stack: Stack) -> list[str]:
    """The runs that the schedule has started."""
    with stack.rest() as airflow:
        return [run.id for run in airflow.runs(DAG, limit=5) if run.id.startswith("scheduled__")]


def test_the_guides_commands_for_finding_what_is_wrong(stack: Stack) -> None:
    assert DAG in stack.airflow("dags", "list")
    assert "success" in stack.airflow("dags", "state", DAG, "small")
    assert "check_environment" in stack.airflow("tasks", "states-for-dag-run", DAG, "small")
    log = f"/opt/airflow/logs/dag_id={DAG}/run_id=small/task_id=check_environment/attempt=1.log"
    assert "Training from" in stack.inside("cat", log)
    # Without a date that no run has, it would delete a run. What a task logs goes to one stream or the other.
    test = f"airflow tasks test {DAG} check_environment 2000-01-01 2>&1"
    assert "Training from" in stack.inside("bash", "-c", test)
    with stack.rest() as airflow:
        assert airflow.run(DAG, "small").state == "success"


def gitops(stack: Stack, *command: str) -> str:
    """Run gitops on the server, outside of all containers."""
    return stack.run(GITOPS, *command)


def test_a_release_goes_to_staging_and_back(stack: Stack, staging: Stack) -> None:
    [run] = due(stack)
    stack.finish(DAG, run)
    gitops(stack, "merge", candidate_branch(run))
    repository = Repository(stack.checkout)
    first = stack.declared()
    stack.await_release(first)

    assert "The gates of staging" in gitops(stack, "promote", "staging", "--push", "--wait")
    gitops(stack, "merge", "promote/staging")
    assert staging.declared() == first
    staging.await_release(first)

    # Another release of the same model
    params = repository.read(first, "params.yaml") or b""
    second = repository.commit_files(first, {"params.yaml": params + b"# As before\n"}, "Say so")
    stack.run("git", "push", "--quiet", "compose", f"{second}:refs/heads/another")
    gitops(stack, "merge", "another")
    gitops(stack, "promote", "staging", "--push", "--wait")
    gitops(stack, "merge", "promote/staging")
    later = staging.declared()
    assert later != first
    staging.await_release(later)

    gitops(stack, "rollback", "staging", "--reason", "as a test", "--push")
    gitops(stack, "merge", "rollback/staging")
    assert staging.declared() == first
    staging.await_release(first)


def test_a_task_that_is_cleared_runs_again(stack: Stack) -> None:
    stack.airflow("tasks", "clear", "--yes", "--task-regex", "notify_success", DAG)

    def attempts() -> int:
        with stack.rest() as airflow:
            [task] = [task for task in airflow.tasks(DAG, "small") if task.id == "notify_success"]
            return task.attempt if task.state == "success" else 0

    wait_for(lambda: attempts() == 2, seconds=400, pause=2)


def test_two_workers_score_what_waits(stack: Stack) -> None:
    code = "/opt/visage/bundles/release/tracking_repo/src"
    draw = (
        f"cd /opt/visage/home && PYTHONPATH={code} python -m face_attributes draw drawn --count 64 --seed 3"
    )
    drop = "for one in 1 2 3 4 5 6; do cp -r drawn/img_align_celeba incoming/.b$one; done"
    begin = "for one in 1 2 3 4 5 6; do mv incoming/.b$one incoming/b$one; done"
    celery: dict[str, Any] = {"AIRFLOW_EXECUTOR": "CeleryExecutor", "AIRFLOW_WORKERS": "2"}
    up = ["--profile", "celery", "up", "--detach", "--wait", "--wait-timeout", "300"]
    stack.compose(*up, **celery)
    assert stack.states() == dict.fromkeys((*SERVICES, "redis", "airflow-worker"), "healthy")
    workers = stack.compose("ps", "--quiet", "airflow-worker").split()
    assert len(workers) == 2
    with stack.rest() as airflow:
        pools = {pool["name"]: pool["slots"] for pool in airflow.call("GET", "/api/v2/pools")["pools"]}
        assert pools["scoring"] == 2
        stack.inside("bash", "-ec", f"{draw} && mkdir -p incoming && {drop} && {begin}")

        def hosts() -> list[str]:
            found = airflow.call(
                "GET", "/api/v2/dags/score_faces/dagRuns/~/taskInstances?task_id=score_batch&state=success"
            )
            return [one["hostname"] for one in found["task_instances"] if one["map_index"] >= 0]

        wait_for(lambda: len(hosts()) == 6, seconds=900, pause=2)
        assert {host[:12] for host in hosts()} == {worker[:12] for worker in workers}
    stack.compose("--profile", "celery", "rm", "--force", "--stop", "airflow-worker", "redis")
    stack.compose("up", "--detach", "--wait", "--wait-timeout", "300")


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
    def volumes() -> list[str]:
        named = f"name=^{stack.project}_"
        return stack.run("docker", "volume", "ls", "--quiet", "--filter", named).split()

    stack.compose("down")
    assert f"{stack.project}_database" in volumes()
    stack.compose("down", "--volumes")
    assert volumes() == []
    assert (stack.checkout / ".compose/origin.git").is_dir()
