"""A real Airflow, and a run that takes longer than it should and whose task is killed in the end."""

import signal
from collections.abc import Iterator

import psutil
import pytest

from gitops.airflow.client import Airflow
from tests.support import sinks
from tests.support.engine import Engine, engine
from tests.support.sinks import Sinks
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

DAG = """
from datetime import timedelta
from airflow.sdk import dag, task
from visage_dags.dag_defaults import default_dag_args


@task(pool="scoring", retries=0)
def sleep():
    import os, pathlib, time

    pathlib.Path(os.environ["VISAGE_HOME"], "pid").write_text(str(os.getpid()))
    time.sleep(600)


@dag(**default_dag_args("slow", due=timedelta(seconds=5)), schedule=None)
def slow():
    sleep()


slow()
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[Sinks]:
    with sinks.open_sinks() as opened:
        yield opened


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, servers: Sinks) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("late"), {"slow_dag.py": DAG}, servers) as made:
        yield made


def test_people_are_told_of_a_late_run_and_of_a_killed_task(running: Engine, servers: Sinks) -> None:
    data = running.instance.paths.data
    with Airflow(running.access, timeout=60) as airflow:
        wait_for(lambda: any(dag["dag_id"] == "slow" for dag in airflow.dags()), seconds=90)
        run = airflow.call("POST", "/api/v2/dags/slow/dagRuns", {"logical_date": None})["dag_run_id"]
        wait_for(lambda: servers.mails and servers.posts, seconds=120)
        [mail] = servers.mails
        assert mail["Subject"] == "[Visage staging] slow: a run is late"
        page = mail.get_body().get_content()
        assert "The run is still running after its deadline, 20" in page
        assert run in page
        assert "http://localhost:" in page
        assert "/dags/slow/runs/manual__" in page

        wait_for(lambda: (data / "pid").is_file(), seconds=60)
        task = psutil.Process(int((data / "pid").read_text()))
        task.send_signal(signal.SIGKILL)
        wait_for(lambda: len(servers.mails) > 1 and len(servers.posts) > 1, seconds=180)
    assert servers.mails[1]["Subject"] == "[Visage staging] slow: the run failed"
    assert "/dags/slow/runs/manual__" in servers.mails[1].get_body().get_content()
