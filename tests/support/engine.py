"""One real Airflow that runs DAG files of a test's own, and sends its notices to servers of the test."""

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gitops.airflow.client import Access
from infra.local import port, process, secret, variables
from infra.local.database import Embedded
from infra.local.instance import Instance, wait
from infra.local.layout import Layout
from infra.local.screen import Screen, Step
from infra.local.supervisor import Supervisor
from infra.local.variables import Address, UserConfig
from tests.support import checkout
from tests.support.sinks import Sinks


@dataclass(frozen=True)
class Engine:
    """Its processes, the way in, and the address of its database."""

    instance: Instance
    access: Access
    database: str


@contextmanager
def engine(
    folder: Path, dags: Mapping[str, str], servers: Sinks, extra: Mapping[str, str] | None = None
) -> Iterator[Engine]:
    """Run it in `folder` with `dags` (file name -> content); `extra` are variables of its processes."""
    layout = Layout(checkout.with_dags(folder / "checkout", dags))
    database = Embedded(layout)
    try:
        database.start()
        address = Address("localhost", port.unused())
        instance = Instance(layout, "staging", address)
        url = database.url("staging")
        keys = secret.load(instance.paths.secrets)
        own = variables.derive(layout, "staging", UserConfig({}, {}), address, keys, url)
        bundle = {"name": "release", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
        own |= servers.connections | {
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
                [bundle | {"kwargs": {"path": str(layout.checkout / "dags")}}]
            ),
            "ACTIVE_DAGS": ",".join(name.removesuffix("_dag.py") for name in dags),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            **(extra or {}),
        }
        instance.configure("pass word")
        instance.migrate(own, database)
        instance.provide_pools(own)
        instance.start(own, os.environ, key=keys.fingerprint_key)
        wait([instance], Step(Screen(Console(file=io.StringIO())), "Start"), seconds=200)
        access = Access(url=address.url, username="airflow", password="pass word")
        yield Engine(instance, access, url)
    finally:
        Supervisor(layout.state).end()
        process.end(process.belonging(layout.state), grace=0)
