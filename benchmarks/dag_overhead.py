"""What the training DAG costs beside its work: its wall time against `dvc repro` of the same stages.

    python -m benchmarks.dag_overhead [--profile small] [--images N]

Both train from the same commit with nothing cached, on an Airflow, an origin and a DVC remote of their own in
a temporary folder; `dvc repro` before and after the DAG, so that a machine that gets busier favours neither.
1.0 would be tasks, commits and pushes for nothing; what they cost does not grow with the work, so the ratio
falls with it (more --images).

Each task makes a checkout and removes it. An ext4 without a journal looks at every inode freed in the last
five minutes before it makes a file, so that there a run soon after another takes longer; TMPDIR=/dev/shm
measures without that.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.environment import await_dag, environment
from gitops.git.repository import Repository
from infra.local import patience, variables
from infra.local.layout import Layout
from infra.local.task import ENDED, Runs, Task
from infra.local.training import DAG

ROOT = Path(__file__).parents[1]
TARGET = 1.6
_TIMEOUT = 4 * 3600


def main(
    profile: Annotated[str, typer.Option(help="small or full")] = "small",
    images: Annotated[int | None, typer.Option(help="More drawn faces make more work")] = None,
) -> None:
    """Print the ratio, and where the time goes."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        layout = Layout(Path(name) / "checkout")
        _clone(layout.checkout, images)
        console.print("dvc repro ...")
        before = _repro(layout, profile, Path(name) / "before")
        console.print("the DAG ...")
        with environment(layout, "dev") as airflow:
            await_dag(airflow, DAG)
            wall, tasks = _run(airflow, profile)
        console.print("dvc repro ...")
        after = _repro(layout, profile, Path(name) / "after")
    stages = {stage: (before[stage] + after[stage]) / 2 for stage in before}
    plain = sum(stages.values())
    console.print(_table(stages, tasks, wall))
    verdict = "within" if wall / plain <= TARGET else "over"
    console.print(
        f"training DAG, profile {profile}: {wall:.0f} s, dvc repro {plain:.0f} s "
        f"({sum(before.values()):.0f} and {sum(after.values()):.0f}): "
        f"[bold]{wall / plain:.2f}[/] of it ({verdict} {TARGET}), {wall - plain:.0f} s beside the work"
    )


def _clone(checkout: Path, images: int | None) -> None:
    repository = Repository.clone(str(ROOT), checkout, "--depth", "1")
    dag = checkout / "dags" / "ml_pipeline_dag.py"
    # The run that is measured is the only one
    dag.write_text(dag.read_text().replace('schedule="@daily"', "schedule=None"))
    if images is not None:
        for file in (checkout / "params.yaml", checkout / "params.small.yaml"):
            text = re.sub(r"\b(count|max_images): *\d+", rf"\1: {images}", file.read_text())
            file.write_text(text)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--no-verify", "-m", "As measured", env=repository.identity())


def _repro(layout: Layout, profile: str, folder: Path) -> dict[str, float]:
    """Run all stages in a clone of their own; return the seconds of each, with DVC's start in the first."""
    Repository.clone(str(layout.checkout), folder)
    own = {
        **variables.inherit(os.environ),
        "PYTHONPATH": str(folder / "src"),
        "DVC_GLOBAL_CONFIG_DIR": f"{folder}-dvc",
        "DVC_SITE_CACHE_DIR": f"{folder}-dvc/site",
        "DVC_NO_ANALYTICS": "1",
    }
    if profile != "full":
        command = [sys.executable, "-m", "face_attributes", "profile", profile]
        subprocess.run(command, cwd=folder, env=own, check=True, capture_output=True, timeout=60)
    began, spent = time.perf_counter(), {}
    stage, since = "", began
    with subprocess.Popen(
        ["dvc", "repro"],
        cwd=folder,
        env=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as repro:
        assert repro.stdout is not None
        lines = []
        for line in repro.stdout:
            lines.append(line)
            if found := re.match(r"Running stage '(\w+)'", line):
                now = time.perf_counter()
                if stage:
                    spent[stage], since = now - since, now
                stage = found[1]
    if repro.returncode != 0:
        sys.exit(f"dvc repro failed:\n{''.join(lines[-5:])}")
    spent[stage] = time.perf_counter() - since
    return spent


def _run(airflow: Runs, profile: str) -> tuple[float, list[Task]]:
    airflow.unpause(DAG)
    run = airflow.trigger(DAG, {"profile": profile})
    # Airflow itself says how long it took: whoever asks often takes time from what is measured.
    patience.until(lambda: airflow.run(DAG, run).state in ENDED, seconds=_TIMEOUT, pause=3)
    tasks = airflow.tasks(DAG, run)
    wall = airflow.duration(DAG, run)
    if airflow.run(DAG, run).state != "success":
        sys.exit(f"the run did not succeed: {', '.join(f'{task.name} {task.state}' for task in tasks)}")
    return wall, tasks


def _table(stages: dict[str, float], tasks: list[Task], wall: float) -> Table:
    table = Table("task", "seconds", "dvc repro", "beside it")
    for task in tasks:
        own = stages.get(task.id.rpartition(".")[2], 0.0)
        seconds = task.seconds or 0.0
        table.add_row(task.name, f"{seconds:.1f}", f"{own:.1f}" if own else "", f"{seconds - own:.1f}")
    between = wall - sum(task.seconds or 0.0 for task in tasks)
    table.add_row("between tasks", f"{between:.1f}", "", f"{between:.1f}")
    return table


if __name__ == "__main__":
    typer.run(main)
