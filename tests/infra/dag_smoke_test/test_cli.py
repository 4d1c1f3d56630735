"""The smoke test of a small checkout, whose only DAG does not do what training is to do."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support import checkout
from tests.support.checkout import ROOT
from tests.support.waiting import wait_for

DAG = """
from airflow.sdk import Param, dag, task
from visage_dags.dag_defaults import default_dag_args


@task
def work(params):
    import logging
    import time

    logging.getLogger(__name__).warning("at work")
    if params["ref"] != "main":
        raise ValueError(params["ref"])
    time.sleep(SECONDS)


@dag(
    **default_dag_args("ml_pipeline_face_attributes"),
    schedule=None,
    params={"ref": "main", "profile": "full"},
)
def pipeline():
    work()


pipeline()
"""


def start(tmp_path: Path, *arguments: str, seconds: int = 0) -> "subprocess.Popen[str]":
    folder = checkout.with_dags(
        tmp_path / "source", {"pipeline_dag.py": DAG.replace("SECONDS", str(seconds))}
    )
    shutil.copy(ROOT / "requirements.lock", folder)
    shutil.copytree(ROOT / "infra", folder / "infra", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tmp").mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "infra.dag_smoke_test", *arguments],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp"), "AIRFLOW_HOME": str(tmp_path / "airflow")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left(tmp_path: Path) -> list[str]:
    """What a smoke test left: files, and processes that work in its folder."""
    mark = str(tmp_path / "tmp")
    found = [path.name for path in (tmp_path / "tmp").iterdir()]
    for process in psutil.process_iter(["cmdline", "environ"]):
        variables = process.info["environ"] or {}
        if variables.get("VISAGE_INSTANCE", "").startswith(mark):
            found.append(" ".join(process.info["cmdline"] or ()))
    return found


@pytest.mark.long
def test_a_run_that_does_not_come_to_what_it_should_is_shown_and_counts(tmp_path: Path) -> None:
    process = start(tmp_path, "--environment", "prod")
    said, _ = process.communicate(timeout=150)
    assert process.returncode == 1
    assert "BAD  ml_pipeline_face_attributes in prod" in said
    assert "exit status 0, but no branch of the run" in said
    assert "ok   ml_pipeline_face_attributes in prod" in said
    assert "2 runs" in said
    assert left(tmp_path) == []


def test_an_unknown_dag_is_refused(tmp_path: Path) -> None:
    process = start(tmp_path, "--dag", "score_facse")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "score_facse: no such DAG; there are ml_pipeline_face_attributes" in said


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "--environment", "dev", seconds=600)

    def started() -> bool:
        logs = list((tmp_path / "tmp").glob("*/logs/*-dags-test-*"))
        return bool(logs) and "at work" in logs[0].read_text()

    try:
        wait_for(started, seconds=90)
        process.send_signal(number)
        assert process.wait(timeout=30) == 130
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert left(tmp_path) == []
