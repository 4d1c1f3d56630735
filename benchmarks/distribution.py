"""What a second machine is worth: a heap of batches scored by one worker, and by two.

    python -m benchmarks.distribution [--batches 20] [--images 2000] [--rounds 2]

An environment with CeleryExecutor on Redis, PostgreSQL (make system-packages), git and S3 servers of its own,
and workers that share its data folder and nothing else. Each worker has one core of this machine, as if that
were another machine; where there are only two, they share them with Airflow's other processes. By turns with
one worker and with two, so that a machine that gets busier favours neither.
"""

import os
import shutil
import statistics
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import pyarrow.parquet
import typer
from rich.console import Console

from drawn_faces import SyntheticParams
from face_attributes.data.drawn_folder import draw_folder
from gitops.training.candidate import run_branch
from infra.local import patience
from infra.local.task import ENDED
from infra.local.training import DAG as TRAINING
from tests.distribution.cluster import Cluster, temporary

SCORING = "score_faces"
_FACES = 250
_TIMEOUT = 3600


class Heap:
    """Batches of drawn faces, which are put where batches wait, and the scores that come of them."""

    def __init__(self, data: Path, faces: Path, batches: int, images: int) -> None:
        self._data, self._batches, self._images = data, batches, images
        draw_folder(SyntheticParams(count=_FACES, seed=1), faces, progress=False)
        self._faces = sorted((faces / "img_align_celeba").iterdir())

    def drop(self, turn: str) -> None:
        """Put the batches of a turn where they are found, under names that were not scored yet."""
        for number in range(self._batches):
            arriving = self._data / "incoming" / f".{turn}-{number:03d}"
            arriving.mkdir(parents=True)
            for image in range(self._images):
                os.link(self._faces[image % _FACES], arriving / f"{image:06d}.jpg")
        owner = self._data.stat()
        for path in (self._data / "incoming", *(self._data / "incoming").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        for arriving in sorted((self._data / "incoming").iterdir()):
            arriving.rename(arriving.with_name(arriving.name.removeprefix(".")))

    def require(self, turn: str) -> None:
        """Return if each image of a turn has its scores; else end."""
        rows = [
            pyarrow.parquet.read_metadata(file).num_rows
            for file in sorted(self._data.glob(f"scores/date=*/{turn}-*.parquet"))
        ]
        if rows != [self._images] * self._batches:
            sys.exit(f"{turn}: {sum(rows)} images of {len(rows)} batches have scores")


def main(
    batches: Annotated[int, typer.Option(help="How many wait", min=2)] = 20,
    images: Annotated[int, typer.Option(help="In each", min=1)] = 2000,
    rounds: Annotated[int, typer.Option(help="Each with one worker, then with two", min=1)] = 2,
) -> None:
    """Print the seconds with one worker and with two, and the ratio."""
    console = Console()
    cores = sorted(os.sched_getaffinity(0))
    with temporary() as folder:
        data = folder / "data"
        data.mkdir()
        cluster = Cluster(folder, data=data)
        try:
            workers = [
                cluster.machine(name, cores=str(cores[number % len(cores)]))
                for number, name in enumerate(("one", "other"))
            ]
            cluster.start_worker(workers[0])
            console.print("training a model at profile small ...")
            _train(cluster)
            heap = Heap(data, folder / "faces", batches, images)
            took: dict[int, list[float]] = {1: [], 2: []}
            for number in range(rounds):
                for count in took:
                    if count == 2:
                        cluster.start_worker(workers[1])
                    turn = f"round{number + 1}-workers{count}"
                    seconds, shares = _score(cluster, heap, turn, count)
                    took[count].append(seconds)
                    console.print(f"round {number + 1}: {seconds:.1f} s, batches by worker: {shares}")
                cluster.kill(workers[1].name)
        finally:
            cluster.close()
            shutil.rmtree(folder / "faces", ignore_errors=True)
    single, double = (statistics.median(times) for times in took.values())
    console.print(
        f"{batches} batches of {images} images: one worker {single:.0f} s, two workers {double:.0f} s: "
        f"[bold]{single / double:.2f} times as fast[/] (of 2)"
    )


def _train(cluster: Cluster) -> None:
    """Make a model, and the commit that has it what runs."""
    cluster.airflow.unpause(TRAINING)
    run = _finish(cluster, TRAINING, cluster.airflow.trigger(TRAINING, {"profile": "small"}))
    cluster.move_main(cluster.origin.resolve(run_branch(run)))


def _score(cluster: Cluster, heap: Heap, turn: str, workers: int) -> tuple[float, dict[str, int]]:
    """Have a heap scored; return the seconds from its first batch to its last, and who did how many."""
    # As scripts/init_airflow.sh and the job of Kubernetes do it, from SCORING_SLOTS
    pool = {"name": "scoring", "slots": workers, "include_deferred": True}
    cluster.airflow.call("PATCH", "/api/v2/pools/scoring", pool)
    heap.drop(turn)
    cluster.airflow.unpause(SCORING)
    run = _finish(cluster, SCORING, cluster.airflow.trigger(SCORING))
    heap.require(turn)
    done = [one for one in cluster.attempts(SCORING, run) if one["task_id"] == "score_batch"]
    began, ended = ([datetime.fromisoformat(one[key]) for one in done] for key in ("start_date", "end_date"))
    hosts = [one["hostname"] for one in done]
    shares = {host: hosts.count(host) for host in sorted(set(hosts))}
    if len(shares) != workers:
        sys.exit(f"{turn}: scored by {', '.join(shares)}")
    return (max(ended) - min(began)).total_seconds(), shares


def _finish(cluster: Cluster, dag: str, run: str) -> str:
    patience.until(lambda: cluster.airflow.run(dag, run).state in ENDED, seconds=_TIMEOUT, pause=0.5)
    if cluster.airflow.run(dag, run).state != "success":
        sys.exit(f"{dag}: {run} did not succeed:\n{cluster.trouble(dag, run)}")
    return run


if __name__ == "__main__":
    typer.run(main)
