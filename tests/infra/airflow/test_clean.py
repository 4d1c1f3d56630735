"""Old records and logs go, and nothing else does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[3]
DAY = 86_400
# Records its arguments.
AIRFLOW = """\
#!/bin/sh
echo "$@" >> "$SAID"
exit "${STATUS:-0}"
"""


def clean(folder: Path, *parts: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "airflow").write_text(AIRFLOW)
    (folder / "airflow").chmod(0o755)
    return captured(
        [sys.executable, str(ROOT / "infra/airflow/clean.py"), *parts],
        env={
            "PATH": os.pathsep.join([str(folder), os.defpath]),
            "SAID": str(folder / "said"),
            "AIRFLOW_HOME": str(folder),
            "KEEP_RUN_DAYS": "180",
            "KEEP_LOG_DAYS": "30",
            **variables,
        },
    )


def write(path: Path, age: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a line")
    os.utime(path, (time.time() - age * DAY,) * 2)
    return path


def test_old_logs_go_and_others_stay(tmp_path: Path) -> None:
    old = write(tmp_path / "logs/dag_id=a/run_id=1/attempt=1.log", 31)
    new = write(tmp_path / "logs/dag_id=a/run_id=2/attempt=1.log", 29)
    elsewhere = write(tmp_path / "elsewhere/attempt=1.log", 400)
    (tmp_path / "logs/latest").symlink_to(elsewhere.parent, target_is_directory=True)
    done = clean(tmp_path, "logs")
    assert (done.returncode, done.stderr) == (0, "")
    assert "deleted 1 logs" in done.stdout
    assert not old.exists()
    assert new.exists()
    assert elsewhere.exists(), "a link leads out of the logs"
    assert old.parent.exists(), "a folder that changed today may be about to get a log"


def test_records_and_pods_are_deleted_by_airflow_itself(tmp_path: Path) -> None:
    done = clean(tmp_path, "database", "pods", AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE="visage-dev")
    assert done.returncode == 0
    database, pods = (tmp_path / "said").read_text().splitlines()
    assert database.startswith("db clean --clean-before-timestamp 20")
    assert database.endswith("--skip-archive --yes --error-on-cleanup-failure")
    assert pods.startswith("kubernetes cleanup-pods --namespace visage-dev")


@pytest.mark.parametrize("value", ["", "0", "-1", "soon"])
def test_a_number_of_days_that_is_none_deletes_nothing(tmp_path: Path, value: str) -> None:
    old = write(tmp_path / "logs/a.log", 400)
    done = clean(tmp_path, "database", "logs", KEEP_RUN_DAYS=value, KEEP_LOG_DAYS=value)
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [
        "clean.py database",
        "clean.py logs",
    ]
    assert "set it to 1 or more" in done.stderr
    assert old.exists()
    assert not (tmp_path / "said").exists()


def test_one_part_that_fails_does_not_stop_another(tmp_path: Path) -> None:
    old = write(tmp_path / "logs/a.log", 31)
    done = clean(tmp_path, "database", "logs", STATUS="3")
    assert done.returncode == 1
    assert done.stderr == "clean.py database: airflow db clean: exit status 3\n"
    assert not old.exists()


def test_the_first_time_can_wait(tmp_path: Path) -> None:
    began = time.monotonic()
    assert clean(tmp_path, "logs", "--after", "1").returncode == 0
    assert time.monotonic() - began >= 1
