"""One environment of a checkout, up on a machine where nothing else of it runs."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from gitops.airflow.client import Access
from infra.local import patience, port, process, secret, variables
from infra.local.database import Embedded
from infra.local.instance import Instance, wait
from infra.local.layout import Layout
from infra.local.origin import Origin
from infra.local.screen import Screen, Step
from infra.local.task import Runs
from infra.local.variables import Address, Own


@contextmanager
def environment(layout: Layout, name: str) -> Iterator[Runs]:
    """Bring an environment's Airflow up, with an origin and a DVC remote; yield it, and end it all."""
    origin, database = Origin(layout), Embedded(layout)
    origin.prepare()
    origin.configure_dvc()
    try:
        database.start()
        address = Address("localhost", port.unused())
        instance = Instance(layout, name, address)
        secrets = secret.load(instance.place.secrets)
        own = variables.derive(
            layout, name, Own.read(layout.checkout, os.environ), address, secrets, database.url(name)
        )
        own["ACTIVE_DAGS"] = ""  # what else may run every minute is no part of it
        instance.configure(secrets.password)
        instance.migrate(own)
        instance.provide_pools(own)
        instance.start(own, os.environ, key=secrets.fingerprint_key)
        wait([instance], Step(Screen(Console(file=io.StringIO())), "Start"))
        access = Access(url=address.url, username=variables.USERNAME, password=secrets.password)
        with Runs(access, timeout=60) as airflow:
            # A server makes the interface of its tasks at the first request to it, which takes seconds once.
            airflow.call("GET", "/execution/health", login=False)
            yield airflow
    finally:
        process.end(process.belonging(layout.state), grace=0)
        database.stop()


def await_dag(airflow: Runs, dag: str) -> None:
    """Return once the Airflow knows a DAG; give up after three minutes."""
    if not patience.until(
        lambda: any(found["dag_id"] == dag for found in airflow.dags()), seconds=180, pause=1
    ):
        sys.exit(f"no {dag}: {airflow.import_errors()}")
