"""A real Airflow, and a run that takes longer than it should and whose task is killed in the end."""

import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from gitops.airflow import Access, Airflow
from infra.local import port, process, secret, variables
from infra.local.database import Embedded
from infra.local.instance import Instance, wait
from infra.local.layout import Layout
from infra.local.screen import Screen, Step
from infra.local.variables import Address, Own
from tests.dags import checkout, sinks
from tests.dags.sinks import Sinks
from tests.infra.local.waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

DAG = """
from datetime import timedelta
from airflow.sdk import dag, task
from visage_dags.conduct import house


@task(pool="scoring", retries=0)
def sleep():
    import os, pathlib, time

    pathlib.Path(os.environ["VISAGE_HOME"], "pid").write_text(str(os.getpid()))
    time.sleep(600)


@dag(**house("slow", due=timedelta(seconds=5)), schedule=None)
def slow():
    sleep()


slow()
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[Sinks]:
    with sinks.open_sinks() as opened:
        yield opened


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory, servers: Sinks) -> Iterator[tuple[Access, Path]]:
    layout = Layout(checkout.make(tmp_path_factory.mktemp("late") / "checkout", {"slow_dag.py": DAG}))
    database = Embedded(layout)
    try:
        database.start()
        address = Address("localhost", port.unused())
        instance = Instance(layout, "staging", address)
        own = variables.derive(
            layout,
            "staging",
            Own({}, {}),
            address,
            secret.load(instance.place.secrets),
            database.url("staging"),
        )
        bundle = {"name": "release", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
        own |= servers.connections | {
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
                [bundle | {"kwargs": {"path": str(layout.checkout / "dags")}}]
            ),
            "ACTIVE_DAGS": "slow",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        }
        instance.configure("pass word")
        instance.migrate(own)
        instance.provide_pools(own)
        instance.start(own, os.environ)
        wait([instance], Step(Screen(Console(file=io.StringIO())), "Start"), seconds=200)
        yield Access(url=address.url, username="airflow", password="pass word"), instance.place.data
    finally:
        process.end(process.belonging(layout.state), grace=0)
        database.stop()


def test_people_are_told_of_a_late_run_and_of_a_killed_task(
    access: tuple[Access, Path], servers: Sinks
) -> None:
    known, data = access
    with Airflow(known, timeout=60) as airflow:
        wait_for(lambda: any(dag["dag_id"] == "slow" for dag in airflow.dags()), seconds=90)
        run = airflow.call("POST", "/api/v2/dags/slow/dagRuns", {"logical_date": None})["dag_run_id"]
        wait_for(lambda: servers.mails and servers.posts, seconds=120)
        [mail] = servers.mails
        assert mail["Subject"] == "[Visage staging] slow: a run is late"
        page = mail.get_body().get_content()
        assert "It should have ended by 20" in page
        assert run in page
        assert "http://localhost:" in page
        assert "/dags/slow/runs/manual__" in page

        wait_for(lambda: (data / "pid").is_file(), seconds=60)
        task = psutil.Process(int((data / "pid").read_text()))
        task.send_signal(signal.SIGKILL)
        wait_for(lambda: len(servers.mails) > 1 and len(servers.posts) > 1, seconds=180)
    assert servers.mails[1]["Subject"] == "[Visage staging] slow: the run failed"
    assert "/dags/slow/runs/manual__" in servers.mails[1].get_body().get_content()
