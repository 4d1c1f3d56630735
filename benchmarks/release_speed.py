"""How soon an environment runs what was pushed to main: a promotion, and a rollback.

    python -m benchmarks.release_speed [--rounds 3]

A staging Airflow of its own with the settings of the checkout, an origin in a folder, and two releases
between which it goes back and forth. A second ends when Airflow itself says which release its DAGs are from.
Exits with 1 where one takes longer than the bundle's refresh interval and five seconds.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.environment import await_dag, environment
from gitops.git.repository import Repository
from gitops.release import file as release_file
from gitops.release import settings
from gitops.release.file import Release
from infra.local import patience
from infra.local.layout import Layout
from infra.local.origin import MAIN, Origin
from infra.local.task import Runs
from infra.local.training import DAG

ROOT = Path(__file__).parents[1]
ENVIRONMENT = "staging"
ALLOWANCE = 5
"""Seconds over the refresh interval."""
_TIMEOUT = 120


def main(rounds: Annotated[int, typer.Option(help="Promotions, and as many rollbacks")] = 3) -> None:
    """Print how many seconds each took, and the limit."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        layout = Layout(Path(name) / "checkout")
        Repository.clone(str(ROOT), layout.checkout, "--depth", "1")
        interval = _interval(layout)
        Origin(layout).prepare()
        origin = Origin(layout).repository
        older = origin.resolve(MAIN)
        dag = origin.read(older, "dags/ml_pipeline_dag.py") or b""
        newer = origin.commit_files(older, {"dags/ml_pipeline_dag.py": dag + b"\n# Newer\n"}, "Change")
        # Both are on main
        origin.git("update-ref", MAIN, origin.commit_files(newer, {}, "Go on"))
        _declare(origin, Release(commit=older))
        with environment(layout, ENVIRONMENT) as airflow:
            await_dag(airflow, DAG)
            taken: dict[str, list[float]] = {"promotion": [], "rollback": []}
            for _ in track(range(rounds), "Promote and roll back", console=console, transient=True):
                taken["promotion"].append(_seconds(airflow, origin, Release(commit=newer)))
                taken["rollback"].append(_seconds(airflow, origin, Release(commit=older, hold="measured")))
    limit = interval + ALLOWANCE
    table = Table("", "median", "longest", "limit", title=f"Seconds from push to running in {ENVIRONMENT}")
    for what, seconds in taken.items():
        table.add_row(what, f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}", f"{limit:.0f}")
    console.print(table)
    sys.exit(any(max(seconds) > limit for seconds in taken.values()))


def _interval(layout: Layout) -> float:
    """Return the refresh interval of the environment's bundle, in seconds."""
    path = settings.path_of(ENVIRONMENT)
    lines = settings.parse_lines((layout.checkout / path).read_bytes(), path)
    [bundle] = json.loads(lines["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"][1])
    return float(bundle["kwargs"]["refresh_interval"])


def _declare(origin: Repository, declared: Release) -> None:
    path = release_file.path_of(ENVIRONMENT)
    files = {path: release_file.render(declared, ENVIRONMENT)}
    origin.git("update-ref", MAIN, origin.commit_files(MAIN, files, "Declare"))


def _seconds(airflow: Runs, origin: Repository, declared: Release) -> float:
    began = time.perf_counter()
    _declare(origin, declared)

    def runs() -> bool:
        return {dag["bundle_version"] for dag in airflow.dags()} == {declared.commit}

    if not patience.until(runs, seconds=_TIMEOUT, pause=0.1):
        sys.exit(f"{ENVIRONMENT} does not run {declared.commit} after {_TIMEOUT} s")
    return time.perf_counter() - began


if __name__ == "__main__":
    typer.run(main)
