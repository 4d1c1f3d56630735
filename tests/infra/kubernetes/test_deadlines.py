"""A late run and a full quota with the executor of Kubernetes, met by a real scheduler: it goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql
import yaml
from dotenv import dotenv_values

from gitops.airflow.client import Airflow
from tests.infra.kubernetes.api import Cluster, cluster
from tests.support import sinks
from tests.support.engine import Engine, engine
from tests.support.sinks import Sinks
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = ("AIRFLOW__CORE__EXECUTOR", "AIRFLOW__KUBERNETES_EXECUTOR__", "AIRFLOW__SCHEDULER__")

DAG = """
from datetime import timedelta
from airflow.sdk import dag, task
from visage_dags.dag_defaults import default_dag_args


@task
def wait():
    pass


@dag(**default_dag_args("waiting", due=timedelta(seconds=5)), schedule=None)
def waiting():
    wait()


waiting()
"""
# As releases had it whose deadlines asked for an executor.
EARLIER = (
    DAG.replace("waiting", "earlier")
    .replace(
        '@dag(**default_dag_args("earlier"',
        'from airflow.sdk import DeadlineAlert, SyncCallback\n\nfound = default_dag_args("earlier"',
    )
    .replace(
        ", due=timedelta(seconds=5)), schedule=None)",
        """, due=timedelta(seconds=5))
found["deadline"] = DeadlineAlert(
    reference=found["deadline"].reference,
    interval=timedelta(seconds=5),
    callback=SyncCallback("visage_dags.notices.on_deadline"),
)


@dag(**found, schedule=None)""",
    )
)


@pytest.fixture(scope="module")
def servers() -> Iterator[Sinks]:
    with sinks.open_sinks() as opened:
        yield opened


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    template = yaml.safe_load((ROOT / "infra/kubernetes/base/task.yaml").read_text())
    with cluster(tmp_path_factory.mktemp("cluster"), template) as made:
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, servers: Sinks, pods: Cluster) -> Iterator[Engine]:
    declared = dotenv_values(ROOT / "infra/kubernetes/base/engine.env", interpolate=False)
    extra = {
        **{name: str(value) for name, value in declared.items() if name.startswith(OPTIONS)},
        # A callback that asks for an executor waits for a free slot, and each pod takes one.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__KUBERNETES_EXECUTOR__IN_CLUSTER": "False",
        "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE": str(pods.config),
        "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE": str(pods.config.with_name("task.yaml")),
    }
    dags = {
        "waiting_dag.py": DAG,
        "earlier_dag.py": EARLIER,
        "after_dag.py": DAG.replace("waiting", "after").replace("seconds=5", "hours=5"),
    }
    with engine(tmp_path_factory.mktemp("kubernetes"), dags, servers, extra) as made:
        yield made


def test_late_runs_do_not_end_the_scheduler_and_people_are_told(
    running: Engine, servers: Sinks, pods: Cluster
) -> None:
    scheduler = running.instance.alive()["scheduler"].pid
    with Airflow(running.access, timeout=60) as airflow:
        known = {"waiting", "earlier", "after"}
        wait_for(lambda: known <= {dag["dag_id"] for dag in airflow.dags()}, seconds=120)
        for dag_id in ("waiting", "earlier"):
            airflow.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None})
        wait_for(lambda: len(servers.mails) >= 2 and len(servers.posts) >= 2, seconds=120)
        subjects = sorted(mail["Subject"] for mail in servers.mails)
        assert subjects == [f"[Visage staging] {name}: a run is late" for name in ("earlier", "waiting")]
        for mail in servers.mails:
            page = mail.get_body().get_content()
            assert "after its deadline, 20" in page
            assert "/runs/manual__" in page
            assert "docs/runbooks/" in page

        database = sql.create_engine(running.database)
        with database.connect() as connection:
            states = sql.text("SELECT type, state FROM callback WHERE type <> 'dag_processor'")
            wait_for(lambda: {tuple(row) for row in connection.execute(states)} == {("triggerer", "success")})
            missed = connection.execute(sql.text("SELECT missed FROM deadline")).scalars().all()
        assert missed == [True, True]

        # It goes on scheduling: another run gets its pod, once the namespace has room for it.
        pods.refusals += [(403, "pods is forbidden: exceeded quota: pods"), (503, "the server is busy")]
        airflow.call("POST", "/api/v2/dags/after/dagRuns", {"logical_date": None})
        wait_for(lambda: len(pods.pods) == 3, seconds=60)
        assert pods.refusals == []
        assert running.instance.alive()["scheduler"].pid == scheduler
