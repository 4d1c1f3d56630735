"""The way back to an earlier image, by the commands of docs/kubernetes.md, in a real PostgreSQL server."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg2
import pytest
from airflow.providers.fab.auth_manager.models.db import _REVISION_HEADS_MAP as FAB_HEADS
from airflow.utils.db import _REVISION_HEADS_MAP as HEADS
from cryptography.fernet import Fernet
from dotenv import dotenv_values

from infra.local import secret, variables
from infra.local.database import Embedded
from infra.local.layout import Layout
from tests.infra.kubernetes.rendering import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

PAGE = (ROOT / "docs/kubernetes.md").read_text().partition("**An earlier image**")[2].partition("\n## ")[0]
CLI = (sys.executable, "-m", "airflow")
BEFORE = "3.2.0"
"""The last version of Airflow with another database."""
VERSIONS = {"VERSION": BEFORE, "FAB": "1.4.0"}
COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
WHERE table_schema = 'public'
"""


class Image:
    """Commands in the image of this checkout, with the variables that a scheduler has."""

    def __init__(self, folder: Path, url: str) -> None:
        engine = dotenv_values(ROOT / "infra/kubernetes/base/engine.env", interpolate=False)
        for name in ("airflow/prepare.py", "pools.json"):
            shutil.copy(ROOT / "infra" / name, folder)
        passwords = folder / "passwords.json"
        passwords.write_text(json.dumps({"airflow": "pass word"}))
        self._environ: Mapping[str, str] = {
            **variables.inherit(os.environ),
            **{name: value for name, value in engine.items() if value is not None},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__API__SECRET_KEY": "secret" * 8,  # pragma: allowlist secret
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        }
        self.url = url
        self.prepare = (sys.executable, str(folder / "prepare.py"), "database", "accounts")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self._environ, capture_output=True, text=True, timeout=300, check=False
        )

    def succeeds(self, *command: str) -> None:
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr

    def ask(self, query: str) -> list[tuple[object, ...]]:
        connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()
        finally:
            connection.close()


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Image]:
    layout = Layout(tmp_path / "checkout")
    layout.state.mkdir(mode=0o700, parents=True)
    secret.load(layout.paths_of("dev").secrets)
    server = Embedded(layout)
    try:
        server.start()
        server.provide("dev")
        yield Image(tmp_path, server.url("dev"))
    finally:
        server.stop()


def test_a_database_goes_back_to_an_earlier_version_and_forward_again(image: Image) -> None:
    check = [*CLI, "db", "check-migrations", "--migration-wait-timeout=1"]
    image.succeeds(*image.prepare)
    image.succeeds(*check)
    image.succeeds(*CLI, "connections", "add", "kept", "--conn-uri", "ftp://example.org")
    latest = set(image.ask(COLUMNS))

    [command] = re.findall(r'"sh", "-c",\s*"(airflow [^"]+)"', PAGE)
    for word, version in VERSIONS.items():
        command = re.sub(rf"\b{word}\b", version, command)
    image.succeeds("sh", "-c", command)
    # The earlier image compares these with its own.
    assert image.ask("SELECT version_num FROM alembic_version") == [(HEADS[BEFORE],)]
    assert image.ask("SELECT version_num FROM alembic_version_fab") == [(FAB_HEADS[VERSIONS["FAB"]],)]
    assert image.run(*check).returncode != 0

    # The later image comes again.
    image.succeeds(*image.prepare)
    image.succeeds(*check)
    assert set(image.ask(COLUMNS)) == latest
    assert image.ask("SELECT username FROM ab_user") == [("airflow",)]
    assert image.ask("SELECT slots FROM slot_pool WHERE pool = 'scoring'") == [(3,)]
    image.succeeds(*CLI, "connections", "get", "kept")
