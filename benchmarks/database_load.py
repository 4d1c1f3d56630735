"""Which database carries three Airflows on one machine.

    python -m benchmarks.database_load sqlite
    python -m benchmarks.database_load postgresql

Starts the three as the local engine does, in a folder of their own and at ports of their own, lets each run a
DAG of four parallel tasks as many times as asked, all three at once, and counts what failed and what the logs
say about locks. On two cores, 50 runs each: SQLite (WAL, 60 s timeout) lost runs and answered the API with
errors after waiting a minute for a lock; PostgreSQL lost nothing.
"""

import argparse
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console

from gitops.airflow.client import Access, Airflow
from gitops.errors import AirflowError
from gitops.release.file import ENVIRONMENTS
from infra.local import database, port, secret, variables
from infra.local.engine import Engine
from infra.local.instance import Instance, wait
from infra.local.layout import Layout
from infra.local.screen import Screen, Step
from infra.local.variables import Address

CHECKOUT = Path(__file__).resolve().parents[1]
DAG = """
from airflow.sdk import dag, task

@dag(schedule=None, max_active_runs=16, is_paused_upon_creation=False)
def load():
    @task
    def work(number: int) -> int:
        return number * number

    for number in range(4):
        work.override(task_id=f"work_{number}")(number)

load()
"""
TROUBLE = re.compile(
    r"database is locked|OperationalError|deadlock detected|Workload execution failed|Database error"
)


def main() -> None:
    """Run the experiment and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database", choices=["sqlite", "postgresql"])
    parser.add_argument("--runs", type=int, default=50, help="runs in each environment (default: 50)")
    options = parser.parse_args()
    screen = Screen(Console(highlight=False))
    with tempfile.TemporaryDirectory(prefix="database-load-") as name:
        engine = _engine(Path(name))
        try:
            with screen.step(f"Start three Airflows on {options.database}") as step:
                instances = _start(engine, options.database, step)
            with screen.step(f"{options.runs} runs of four tasks in each, all at once") as step:
                step.done(_describe(_load(instances, options.runs)))
            with screen.step("Read the logs") as step:
                step.done(_describe(_trouble(instance.place.root for instance in instances)))
        finally:
            with screen.step("Stop everything") as step:
                engine.stop(step)


def _engine(root: Path) -> Engine:
    shutil.copytree(CHECKOUT / "environments", root / "environments")
    (root / "dags").mkdir()
    (root / "dags/load.py").write_text(DAG)
    return Engine(Layout(root), dict(os.environ))


def _start(engine: Engine, kind: str, step: Step) -> list[Instance]:
    layout, embedded = engine.layout, database.Embedded(engine.layout)
    if kind == "postgresql":
        embedded.start()
    bundle = {"classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    bundles = [{"name": "release", **bundle, "kwargs": {"path": str(layout.checkout / "dags")}}]
    instances = []
    for environment in ENVIRONMENTS:
        address = Address("localhost", port.unused())
        instance = Instance(layout, environment, address)
        secrets = secret.load(instance.place.secrets)
        url = embedded.url(environment) if kind == "postgresql" else _sqlite(instance.place.root)
        own = variables.derive(layout, environment, engine.own, address, secrets, url)
        own["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(bundles)
        instance.configure(secrets.password)
        if kind == "postgresql":
            instance.migrate(own)
        else:
            _migrate(own, instance.place.logs / "migrate.log")
        instance.start(own, engine.shell)
        instances.append(instance)
    wait(instances, step)
    return instances


def _sqlite(folder: Path) -> str:
    """Make a database file in WAL mode, whose writers wait for each other for up to 60 seconds."""
    with sqlite3.connect(folder / "airflow.db") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return f"sqlite:///{folder / 'airflow.db'}?timeout=60"


def _migrate(own: Mapping[str, str], log: Path) -> None:
    with log.open("ab") as output:
        subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env={**variables.inherit(os.environ), **own},
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=True,
        )


def _load(instances: list[Instance], runs: int) -> Counter[str]:
    """Start `runs` runs in each instance, wait for them, and count how they ended."""
    counts: Counter[str] = Counter()
    airflows = [
        Airflow(
            Access(
                url=instance.address.url,
                username=variables.USERNAME,
                password=secret.load(instance.place.secrets).password,
            ),
            timeout=90,
        )
        for instance in instances
    ]
    for airflow in airflows:
        while not airflow.dags():
            time.sleep(1)
    for _ in range(runs):
        for airflow in airflows:
            try:
                airflow.trigger("load")
            except AirflowError:
                counts["runs that the API did not start"] += 1
    deadline = time.monotonic() + 900
    for airflow in airflows:
        states: Counter[str] = Counter()
        while time.monotonic() < deadline:
            states = Counter(run.state for run in airflow.runs("load", limit=100))
            if not states["queued"] and not states["running"]:
                break
            time.sleep(3)
        for state, count in states.items():
            counts[f"runs {state}"] += count
    return counts


def _trouble(folders: Iterable[Path]) -> Counter[str]:
    """Count what the logs of processes and tasks say about locks and lost work."""
    counts: Counter[str] = Counter()
    for folder in folders:
        for log in folder.rglob("*.log"):
            counts.update(TROUBLE.findall(log.read_text(errors="replace")))
    return counts


def _describe(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing of the kind"


if __name__ == "__main__":
    main()
