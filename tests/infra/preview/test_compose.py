"""Previews with Docker Compose: their files, and the commands that Docker gets. No container runs here."""

import io
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from infra.local.errors import EngineError
from infra.local.screen import Screen, Step
from infra.preview import record
from infra.preview.compose import ComposeHost
from infra.preview.host import Running
from infra.preview.record import Preview, name_of
from tests.infra.preview.conftest import BRANCH, Bench
from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "infra/compose/preview.yml"
SECRET = "s3cret-of-dev"  # pragma: allowlist secret
ENV = f"""\
AIRFLOW_UID={os.geteuid() or 50000}
POSTGRES_PASSWORD={SECRET}
REDIS_PASSWORD={SECRET}
AWS_ACCESS_KEY_ID={SECRET}
AWS_SECRET_ACCESS_KEY={SECRET}
AIRFLOW_CONN_SMTP_DEFAULT={{"password": "{SECRET}"}}
VISAGE_IMAGE=registry.invalid/visage:1
"""
REAL = shutil.which("docker")
# Writes down its arguments, and answers as if all services ran
DOCKER = """\
#!/usr/bin/env python3
import json, os, sys
with open(os.environ["HOME"] + "/docker.jsonl", "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if "ps" in sys.argv:
    print("airflow-webserver\\nserving")
"""


@pytest.fixture
def server(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComposeHost:
    """A server with a Docker that records its commands."""
    checkout = bench.layout.checkout
    for name in ("infra/compose", "infra/git"):
        shutil.copytree(ROOT / name, checkout / name)
    (checkout / ".env").write_text(ENV)
    (checkout / ".compose/store").mkdir(parents=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    monkeypatch.setenv("HOME", str(tmp_path))
    return ComposeHost(checkout)


def up(server: ComposeHost, bench: Bench, hours: float = 8) -> Running:
    commit = bench.push({"dags/more.py": b"MORE = 1\n"})
    return server.up(BRANCH, commit, hours, Step(Screen(Console(file=io.StringIO())), "up"))


def asked(tmp_path: Path) -> list[list[str]]:
    log = tmp_path / "docker.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_the_file_is_what_the_specification_of_compose_allows() -> None:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    subprocess.run([*command, FILE], check=True, timeout=60)


def test_each_service_that_stays_ends_by_itself_and_is_not_started_again() -> None:
    services = yaml.safe_load((ROOT / "infra/compose/services.yml").read_text())["services"]
    # Workers and their broker belong to a profile, and airflow-init ends at once.
    staying = {name for name, one in services.items() if "profiles" not in one} - {"airflow-init"}
    own: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    assert own.keys() == staying
    for service in own.values():
        assert service["restart"] == "no"
        assert "timeout" in service["entrypoint"]
        assert "${PREVIEW_SECONDS:?}" in service["entrypoint"]
    dockerfile = (ROOT / "infra/airflow/Dockerfile").read_text()
    entry = json.loads(dockerfile.partition("ENTRYPOINT ")[2].partition("\n")[0])
    words = [word.replace("$$", "$") for word in own["git"]["entrypoint"]]
    assert [*words[:2], *words[words.index("sh") :]] == entry


def test_the_store_of_the_environments_is_read_only() -> None:
    store = yaml.safe_load(FILE.read_text())["services"]["s3"]
    assert "--read-only" in store["command"]
    assert [volume["read_only"] for volume in store["volumes"]] == [True]


def test_a_preview_has_no_secret_of_the_server(server: ComposeHost, bench: Bench) -> None:
    up(server, bench)
    folder = bench.layout.checkout / ".compose/previews" / name_of(BRANCH)
    values = dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())
    assert values["VISAGE_IMAGE"] == "registry.invalid/visage:1"
    assert values["PREVIEW_SECONDS"] == "28800"
    assert not any(SECRET in path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
    made = {values[name] for name in values if "PASSWORD" in name or "KEY" in name}
    assert len(made) == 4
    assert min(map(len, made)) == 48


def test_a_bucket_needs_a_key_that_may_only_read_it(server: ComposeHost, bench: Bench) -> None:
    env = bench.layout.checkout / ".env"
    env.write_text(f"{ENV}DVC_REMOTE_URL=s3://models/dvc\n")
    with pytest.raises(
        EngineError, match="PREVIEW_AWS_ACCESS_KEY_ID: not set; a preview needs a key that may only"
    ):
        up(server, bench)
    env.write_text(f"{env.read_text()}PREVIEW_AWS_ACCESS_KEY_ID=reader\nPREVIEW_AWS_SECRET_ACCESS_KEY=read\n")
    up(server, bench)
    values = (bench.layout.checkout / ".compose/previews" / name_of(BRANCH) / ".env").read_text()
    assert "AWS_ACCESS_KEY_ID=reader" in values
    assert "DVC_REMOTE_URL=s3://models/dvc" in values
    assert SECRET not in values


def test_a_preview_comes_up_moves_and_goes(server: ComposeHost, bench: Bench, tmp_path: Path) -> None:
    running = up(server, bench)
    name = name_of(BRANCH)
    folder = bench.layout.checkout / ".compose/previews" / name
    # Where root runs this, git refuses to read it: it belongs to the user of the containers.
    main = folder / ".compose/origin.git/refs/heads/main"
    first = main.read_text()
    assert running.url == f"http://{name}.localhost:{running.preview.port}"
    steps = [command for command in asked(tmp_path) if "--project-name" in command]
    assert [command[command.index("--file", command.index("--file") + 1) + 2 :][0] for command in steps] == [
        "run",
        "up",
    ]
    for command in steps:
        assert command[:3] == ["compose", "--project-name", f"visage-{name}"]
        assert command[command.index("--project-directory") + 1] == str(folder)
    passwords = (folder / ".env").read_text()
    again = up(server, bench, hours=1)
    assert again.url == running.url
    assert main.read_text() == first
    assert (folder / ".env").read_text() == passwords.replace("28800", "3600")
    assert [one.state for one in server.all(datetime.now(UTC))] == ["up"]
    assert server.down(BRANCH, Screen(Console(file=io.StringIO())))
    assert asked(tmp_path)[-1][-3:] == ["down", "--volumes", "--remove-orphans"]
    assert not folder.exists()
    assert not server.down(BRANCH, Screen(Console(file=io.StringIO())))


def test_a_preview_whose_time_is_over_is_removed_by_the_next_command(
    server: ComposeHost, bench: Bench, tmp_path: Path
) -> None:
    up(server, bench)
    assert server.all(datetime.now(UTC) + timedelta(hours=9)) == []
    assert asked(tmp_path)[-1][-3:] == ["down", "--volumes", "--remove-orphans"]
    assert record.read_all(bench.layout.checkout / ".compose/previews") == []


@pytest.mark.docker
def test_docker_compose_takes_the_files(server: ComposeHost, bench: Bench) -> None:
    preview: Preview = up(server, bench).preview
    command = server.command(preview, "config", "--format", "json")
    if REAL is None:
        pytest.fail("docker: not on PATH; this test needs Docker Compose 2", pytrace=False)
    done = captured([REAL, *command[1:]], check=True)
    services = json.loads(done.stdout)["services"]
    assert SECRET not in done.stdout
    assert {one.get("restart") for name, one in services.items() if name != "airflow-init"} == {"no"}
    store = next(one for one in services["s3"]["volumes"] if one["target"] == "/opt/visage/store")
    assert store["source"] == str(bench.layout.checkout / ".compose/store")
    assert store["read_only"] is True
    assert services["airflow-webserver"]["ports"][0]["host_ip"] == "127.0.0.1"
    assert services["airflow-webserver"]["ports"][0]["published"] == str(preview.port)
