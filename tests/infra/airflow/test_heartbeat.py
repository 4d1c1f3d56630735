"""The probe of a container: what it finds wrong, in one line."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from infra.airflow import heartbeat

STATUS = [200]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Database:
    """Answers of a database, in turn."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, *_: object) -> None:
        pass

    def fetchone(self) -> Any:
        return self.answers.pop(0)


def without_dags(
    monkeypatch: pytest.MonkeyPatch, folder: Path, read: datetime | None, dags: int, commit: str | None
) -> str | None:
    monkeypatch.setattr(heartbeat, "connected", lambda _: Database((read,), (dags,)))
    (folder / "release").mkdir()
    (folder / "release/release.json").write_text(json.dumps({"commit": commit}))
    return heartbeat.without_dags("postgresql://", folder, NOW)


@pytest.mark.parametrize(
    ("age", "dags", "commit", "said"),
    [
        (1, 4, "a" * 40, None),
        (1, 0, None, None),
        (1, 0, "a" * 40, "release aaaaaaaaaaaa has no DAG that can be read"),
        (11, 4, "a" * 40, "the release was last read from git 660 s ago"),
        (None, 0, None, "the release has not been read from git yet"),
    ],
)
def test_a_dag_processor_without_dags_is_not_ready(
    age: int | None,
    dags: int,
    commit: str | None,
    said: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = None if age is None else NOW - timedelta(minutes=age)
    found = without_dags(monkeypatch, tmp_path, read, dags, commit)
    assert (found or "").startswith(said or "")
    assert (found is None) == (said is None)


_PART = st.text(alphabet="aZ0-_.~%2F:@/?#& +é", max_size=8)


@given(
    _PART,
    _PART,
    st.sampled_from(["", "db", "10.1.2.3", "[::1]"]),
    _PART,
    st.sampled_from(["", "sslmode=require"]),
)
def test_a_database_has_the_address_that_airflow_finds(
    user: str, password: str, host: str, name: str, query: str
) -> None:
    text = f"postgresql+psycopg2://{user}:{password}@{host}:6432/{name}?{query}"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        assume(False)
    # As Airflow's connections have them
    expected = {
        "host": url.host,
        "port": str(url.port or ""),
        "user": url.username,
        "dbname": url.database,
        "password": url.password,
        **{key: value for key, value in url.query.items() if isinstance(value, str)},
    }
    assert heartbeat.address(text) == {key: value for key, value in expected.items() if value}


def test_a_check_loads_little() -> None:
    """Each process of an environment runs four checks a minute."""
    program = "import runpy, sys; sys.argv = ['heartbeat.py', 'worker']\n"
    program += f"try: runpy.run_path({heartbeat.__file__!r}, run_name='__main__')\n"
    program += "except SystemExit as end: assert not end.code\n"
    program += "print('sqlalchemy' in sys.modules, 'airflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_an_address_that_is_none_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "db.example.org")
    assert heartbeat.main(["SchedulerJob"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: not the URL of a database")


def test_a_folder_of_somebody_else_is_one_clear_line() -> None:
    # Not even root can write there.
    assert "chown -R" in str(heartbeat.unwritable([Path("/proc/self")]))


def test_a_missing_folder_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert heartbeat.main(["worker", "--writes", str(tmp_path), str(tmp_path / "none")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / 'none'}: No such file or directory: user {os.getuid()} of group")
    assert heartbeat.main(["worker", "--writes", str(tmp_path)]) == 0


def test_a_changed_secret_fails_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "old")
    (tmp_path / "..data").mkdir()
    (tmp_path / "AIRFLOW__CORE__FERNET_KEY").write_text("old")
    (tmp_path / "NOT_OF_THIS_PROCESS").write_text("new")
    arguments = ["worker", "--secrets", str(tmp_path)]
    assert heartbeat.main(arguments) == 0
    (tmp_path / "AIRFLOW__CORE__FERNET_KEY").write_text("new")
    assert heartbeat.main(arguments) == 1


def test_a_value_that_a_config_map_replaces_is_no_changed_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last source of a variable wins, and that is the ConfigMap `settings`: no other start changes it."""
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    secret = tmp_path / "AWS_REQUEST_CHECKSUM_CALCULATION"
    secret.write_bytes(b"\xff")
    os.utime(secret, times=(0, 0))
    assert heartbeat.main(["worker", "--secrets", str(tmp_path)]) == 0
    assert heartbeat.changed_secret(tmp_path, os.environ, started=-1)


def test_the_start_of_the_container_is_that_of_its_first_process() -> None:
    assert heartbeat.start_of_container() == pytest.approx(psutil.Process(1).create_time(), abs=2)


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(STATUS[-1])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    made = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def test_an_api_server_that_answers_with_an_error_is_not_alive(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert heartbeat.unanswered(server.server_port, "/healthz") is None
    monkeypatch.setattr(f"{__name__}.STATUS", [500])
    assert (
        heartbeat.unanswered(server.server_port, "/healthz")
        == f"port {server.server_port}: answers with status 500"
    )
