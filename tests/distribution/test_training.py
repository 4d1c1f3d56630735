"""The training pipeline on machines that share nothing but git and the S3 store.

The tests build on one another: each leaves both workers' machines as they are.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gitops.git.repository import Repository
from gitops.training.candidate import run_branch
from infra.local.task import ENDED
from infra.local.training import DAG
from tests.distribution.cluster import BUCKET, Cluster, temporary
from tests.distribution.machine import Machine
from tests.faults.damage import assert_undamaged
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.long,
    pytest.mark.system("redis-server", "pg_lsclusters", "setpriv", "unshare"),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with temporary() as folder:
        made = Cluster(folder)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def workers(cluster: Cluster) -> dict[str, Machine]:
    """Two machines with a worker each, by name."""
    made = {name: cluster.machine(name) for name in ("one", "other")}
    for machine in made.values():
        cluster.start_worker(machine)
    return made


def train(cluster: Cluster) -> str:
    cluster.airflow.unpause(DAG)
    return cluster.airflow.trigger(DAG, {"profile": "small"})


def assert_success(cluster: Cluster, run: str) -> None:
    wait_for(lambda: cluster.airflow.run(DAG, run).state in ENDED, seconds=1500, pause=1)
    assert cluster.airflow.run(DAG, run).state == "success", cluster.trouble(DAG, run)


def test_no_machine_can_look_into_another_or_past_the_servers(
    cluster: Cluster, workers: dict[str, Machine]
) -> None:
    one, other = workers.values()
    assert one.user is None or one.user != other.user
    if one.user is None:
        pytest.skip("users of their own take root; the machines have homes and caches of their own")
    for place, words in ((one.home, ""), (other.home, "denied"), (cluster.store, "denied")):
        assert words in one.run(["ls", str(place)], {}).stderr
    for place in (other.home, cluster.store, cluster.origin.path):
        assert one.run(["ls", str(place)], {}).returncode != 0, place
    assert one.run(["ls", str(one.home)], {}).returncode == 0


def test_a_training_is_spread_over_both(cluster: Cluster, workers: dict[str, Machine]) -> None:
    run = train(cluster)
    assert_success(cluster, run)
    hosts = cluster.hosts(DAG, run)
    assert set(hosts.values()) == set(workers)
    assert len(hosts) == len(cluster.airflow.tasks(DAG, run))
    stages = {task: host for task, host in hosts.items() if "." in task}
    assert set(stages.values()) == set(workers), f"what one machine made, the other one worked with: {stages}"
    assert cluster.origin.tree_id(run_branch(run), "metrics/evaluation.json")
    for machine in workers.values():
        spaces = machine.data / "workspaces"
        assert_undamaged(cluster.origin, cluster.store / BUCKET, spaces, after=cluster.head)


def test_a_training_outlives_the_machine_that_works_on_it(
    cluster: Cluster, workers: dict[str, Machine]
) -> None:
    # Another training than the one whose results are on the store by now
    before = cluster.origin.read("main", "params.yaml") or b""
    after = before.replace(b"\n  seed: ", b"\n  seed: 1", 1)
    assert after != before
    cluster.move_main(cluster.origin.commit_files("main", {"params.yaml": after}, "Change a seed"))
    run = train(cluster)

    def training() -> list[str]:
        assert cluster.airflow.run(DAG, run).state not in ENDED, cluster.trouble(DAG, run)
        return [name for name, machine in workers.items() if machine.trains()]

    wait_for(training, seconds=1500, pause=0.3)
    [victim] = training()
    assert cluster.hosts(DAG, run)["model_training.train"] == victim
    cluster.kill(victim)
    assert_success(cluster, run)

    [survivor] = workers.keys() - {victim}
    attempts = {task.id: task.attempt for task in cluster.airflow.tasks(DAG, run)}
    assert {task for task, attempt in attempts.items() if attempt > 1} == {"model_training.train"}
    assert attempts["model_training.train"] == 2
    hosts = cluster.hosts(DAG, run)
    assert hosts["model_training.train"] == survivor
    assert victim in hosts.values(), "some of the work before was its"
    assert cluster.origin.tree_id(run_branch(run), "metrics/evaluation.json")
    spaces = workers[survivor].data / "workspaces"
    assert_undamaged(cluster.origin, cluster.store / BUCKET, spaces, after=cluster.head)


def test_the_trials_of_a_search_are_spread_over_both_and_make_the_search_of_one_machine(
    cluster: Cluster, workers: dict[str, Machine], tmp_path: Path
) -> None:
    content = yaml.safe_load(cluster.origin.read("main", "params.yaml") or b"")
    small = yaml.safe_load(cluster.origin.read("main", "params.small.yaml") or b"")
    # Another search than those whose results are on the store by now
    content["tune"] |= {"trials": 3, "parallel": 2, "seed": 3}
    small["tune"] |= {"trials": 3, "epochs": 3}
    changed = {"params.yaml": content, "params.small.yaml": small}
    files = {name: yaml.safe_dump(params).encode() for name, params in changed.items()}
    cluster.move_main(cluster.origin.commit_files("main", files, "Search two at a time"))
    for machine in workers.values():  # Both work again
        if not cluster.running(machine.name):
            cluster.start_worker(machine)
    run = train(cluster)

    def searching() -> list[str]:
        assert cluster.airflow.run(DAG, run).state not in ENDED, cluster.trouble(DAG, run)
        running = [one for one in cluster.attempts(DAG, run) if one["state"] == "running"]
        return [one["hostname"] for one in running if one["task_id"].endswith("round_1.trial")]

    wait_for(lambda: sorted(searching()) == sorted(workers), seconds=1500, pause=0.3)
    victim = searching()[0]
    cluster.kill(victim)
    cluster.start_worker(workers[victim])
    group = "hyperparameter_optimization"

    def chosen() -> bool:
        assert cluster.airflow.run(DAG, run).state not in ENDED, cluster.trouble(DAG, run)
        return ("success", f"{group}.tune") in {
            (one["state"], one["task_id"]) for one in cluster.attempts(DAG, run)
        }

    wait_for(chosen, seconds=1500, pause=1)
    tasks = [one for one in cluster.attempts(DAG, run) if one["task_id"].startswith(f"{group}.round_")]
    rounds = sorted((one["task_id"], one["map_index"]) for one in tasks)
    sizes = ((1, 2), (2, 1))
    assert rounds == [(f"{group}.round_{n}.trial", index) for n, size in sizes for index in range(size)]
    assert {one["hostname"] for one in tasks} == set(workers)
    assert [one["try_number"] for one in tasks if one["task_id"].endswith("round_1.trial")].count(2) == 1

    # One machine, two processes
    checkout = Repository.clone(str(cluster.origin.path), tmp_path / "checkout", "--branch", run_branch(run))
    done = [(checkout.path / name).read_text() for name in ("search/best.json", "search/trials.csv")]
    lock = yaml.safe_load((checkout.path / "dvc.lock").read_text())
    [prepared] = [out for out in lock["stages"]["prepare"]["outs"] if out["path"] == "data/prepared"]
    _fetch(cluster.store / BUCKET / "files/md5", prepared["md5"], checkout.path / "data/prepared")
    alone = [sys.executable, "-m", "face_attributes", "tune"]
    environment = os.environ | {"PYTHONPATH": str(checkout.path / "src"), "VISAGE_HOME": str(tmp_path)}
    subprocess.run(alone, cwd=checkout.path, env=environment, check=True, timeout=900)
    assert [(checkout.path / name).read_text() for name in ("search/best.json", "search/trials.csv")] == done


def _fetch(objects: Path, digest: str, folder: Path) -> None:
    """Copy a folder from the DVC remote."""
    for entry in json.loads((objects / digest[:2] / digest[2:]).read_text()):
        target = folder / entry["relpath"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(objects / entry["md5"][:2] / entry["md5"][2:], target)
