"""The real training in a real step, and its pod is evicted: all of its processes end at once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from gitops.git.repository import Repository
from tests.faults.conftest import Faults
from tests.support.waiting import wait_for, working_in

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
EPOCHS = 8
PARAMS = {
    "data": {"max_images": None},
    "prepare": {"shrink": 6, "sample": 20},
    "train": {"epochs": EPOCHS, "batch_size": 16, "threads": 1, "precision": "float32", "device": "cpu"},
}


def face_attributes(stage: str, folder: Path) -> None:
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "VISAGE_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "face_attributes", stage]
    subprocess.run(command, cwd=folder, env=variables, check=True, timeout=600)


def start(faults: Faults, processes: int) -> tuple[str, Path]:
    """Make a commit whose stage train is the real one, and a folder with its inputs outside of git."""
    checkout, yaml = faults.folder / "checkout", YAML()
    document = yaml.load(ROOT / "params.yaml")
    for section, values in PARAMS.items():
        document[section].update(values)
    document["data"]["synthetic"]["count"] = 240
    document["train"]["processes"] = processes
    yaml.dump(document, checkout / "params.yaml")
    pipeline = yaml.load(ROOT / "dvc.yaml")
    yaml.dump({"stages": {"train": pipeline["stages"]["train"]}}, checkout / "dvc.yaml")
    shutil.copytree(ROOT / "src", checkout / "src", dirs_exist_ok=True)
    shutil.copy(ROOT / ".gitignore", checkout)
    for stage in ("collect", "prepare"):
        face_attributes(stage, checkout)
    (checkout / "search").mkdir()
    names = ("learning_rate", "weight_decay", "dropout", "width", "augmentation")
    train = {name: document["train"][name] for name in names}
    best = {name: value["synthetic"] if isinstance(value, dict) else value for name, value in train.items()}
    (checkout / "search/best.json").write_text(repr(best).replace("'", '"'))
    alone = faults.folder / "alone"
    shutil.copytree(checkout, alone, ignore=shutil.ignore_patterns(".git", ".dvc"))
    subprocess.run(["dvc", "add", "--quiet", "data/prepared"], cwd=checkout, check=True, timeout=60)
    subprocess.run(["dvc", "push", "--quiet"], cwd=checkout, check=True, timeout=60)
    repository = Repository(checkout)
    repository.git("add", "--all")
    repository.git("add", "--force", "data/prepared.dvc", "search/best.json")
    repository.git("commit", "--quiet", "--message=Train", env=repository.identity())
    repository.git("push", "--quiet", faults.url, "HEAD:main")
    return repository.resolve("HEAD"), alone


def evict(faults: Faults, worker: subprocess.Popen[str]) -> None:
    """End the processes of a step, as the end of its pod does."""
    victims = [psutil.Process(worker.pid), *working_in(faults.spaces)]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=20)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_evicted_training_goes_on_after_its_last_epoch(faults: Faults, processes: int) -> None:
    commit, alone = start(faults, processes)
    worker = faults.begin(commit, "train")
    wait_for(lambda: any((faults.folder / "checkpoints").glob("train-*.pt")), seconds=900)
    evict(faults, worker)
    assert "run/one" not in faults.origin.git("branch", "--list")

    trained = faults.end(faults.begin(commit, "train"), seconds=600)["commit"]
    log = (faults.folder / "worker.log").read_text()
    assert f"of {EPOCHS}" in log.partition("train: going on after epoch ")[2].partition("\n")[0]
    assert not any((faults.folder / "checkpoints").iterdir())
    curve = faults.origin.read(trained, "plots/learning_curve.csv")
    face_attributes("train", alone)
    assert curve == (alone / "plots/learning_curve.csv").read_bytes()
    faults.assert_undamaged()
