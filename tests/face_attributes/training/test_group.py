"""Trainings by several processes, each a real one that talks to the others with gloo."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from face_attributes.common.errors import ParamsError, TrainingError
from face_attributes.model import weights
from face_attributes.params import SEARCHED
from face_attributes.training import group as groups
from face_attributes.training import hyperparameters, loop
from face_attributes.training.device import Runtime
from face_attributes.training.group import Group
from face_attributes.training.train import train
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
CPU = Runtime(torch.device("cpu"), bfloat16=False)
# Rounding grows with each step, as with another number of threads
SHORT = {"epochs": 1, "learning_rate": 0.0005}


class Trained:
    """A training in a folder of its own."""

    def __init__(self, folder, made, tiny, data):
        self.folder, self._made, self._tiny, self._data = folder, made, tiny, data
        folder.mkdir()

    def train(self, **changes):
        options = self._tiny.train.model_copy(update=changes)
        found = self.folder / "best.json"
        hyperparameters.write(found, {name: getattr(options, name) for name in SEARCHED})
        files = [self.folder / name for name in ("model.pt", "curve.csv", "training.json")]
        train(self._tiny.model_copy(update={"train": options}), self._made.prepared, found, *files)
        return self

    @property
    def processes(self):
        return json.loads((self.folder / "training.json").read_text())["processes"]

    @property
    def curve(self):
        return np.loadtxt(self.folder / "curve.csv", delimiter=",", skiprows=1)

    @property
    def probabilities(self):
        network = weights.load(self.folder / "model.pt").network
        logits = loop.predict(network, self._data.validation.images, CPU)
        return torch.from_numpy(logits).sigmoid().numpy()


@pytest.fixture
def trained(made, tiny, data, tmp_path, monkeypatch):
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path / "home"))
    return lambda name: Trained(tmp_path / name, made, tiny, data)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 128])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_every_row_of_a_batch_has_one_process(count, size):
    rows = [row for rank in range(size) for row in range(count)[Group(rank, size).share(count)]]
    assert rows == list(range(count))


@pytest.mark.long
def test_two_processes_make_the_model_of_one(trained):
    """With dropout, augmentation, and a last batch of which their shares differ in size."""
    one, two = trained("one").train(**SHORT), trained("two").train(**SHORT, processes=2)
    assert (one.processes, two.processes) == (1, 2)
    np.testing.assert_allclose(two.curve, one.curve, atol=1e-4)
    np.testing.assert_allclose(two.probabilities, one.probabilities, atol=1e-3)


@pytest.mark.long
def test_a_process_may_have_no_image_of_a_batch(trained):
    """Of 192 images, the last batch has two, and of three processes one has none of them."""
    one, three = (trained(str(n)).train(**SHORT, batch_size=95, processes=n) for n in (1, 3))
    np.testing.assert_allclose(three.curve, one.curve, atol=1e-4)
    np.testing.assert_allclose(three.probabilities, one.probabilities, atol=1e-3)


@pytest.mark.long
def test_minutes_end_all_processes_at_the_same_step(trained):
    found = trained("two").train(epochs=500, max_minutes=0.1, processes=2)
    figures = json.loads((found.folder / "training.json").read_text())
    assert figures["ended_by"] == "max_minutes"


@pytest.mark.long
def test_an_error_of_the_processes_is_the_error_of_the_stage(trained):
    with pytest.raises(TrainingError, match="the loss is no longer a number"):
        trained("two").train(learning_rate=1e30, processes=2)


def test_the_parameter_decides_the_number_of_processes(tiny, monkeypatch):
    def number(processes, device="auto"):
        return groups.processes(tiny.train.model_copy(update={"processes": processes, "device": device}))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (number("auto"), number(3)) == (1, 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert (number("auto"), number(3), number("auto", "cpu")) == (4, 3, 1)
    with pytest.raises(ParamsError, match=r"train\.processes: 5, but this machine has 4 GPUs"):
        number(5)


class Stage:
    """The stage train as a command, in a folder with all that it reads."""

    def __init__(self, folder, made, edit):
        self.folder, self.checkpoints = folder, folder / "home/checkpoints"
        folder.mkdir()
        shutil.copytree(made.prepared, folder / "data/prepared")
        (folder / "search").mkdir()
        shutil.copy(made.best, folder / "search/best.json")
        shutil.copy(ROOT / "params.yaml", folder)
        changes = {"epochs": 5, "batch_size": 16, "threads": 1, "precision": "float32", "processes": 2}
        edit(folder / "params.yaml", {f"train.{name}": value for name, value in changes.items()})

    def start(self, *launcher):
        self.log = self.folder / "log"
        with self.log.open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *launcher, *["-m"] * bool(launcher), "face_attributes", "train"],
                cwd=self.folder,
                env={**os.environ, "VISAGE_HOME": str(self.folder / "home")},
                stderr=log,
            )

    def finish(self, process):
        assert process.wait(300) == 0, self.log.read_text()
        return (self.folder / "models/model.pt").read_bytes()

    def lose(self, process):
        """Kill a process after the first epoch; return the log, without progress."""
        wait_for(lambda: any(self.checkpoints.glob("train-*.pt")), seconds=200)
        ranks = [
            child for child in psutil.Process(process.pid).children() if "spawn_main" in str(child.cmdline())
        ]
        assert len(ranks) == 2
        ranks[-1].send_signal(signal.SIGKILL)
        assert process.wait(60) == 1
        assert not any(rank.is_running() for rank in ranks)
        lines = self.log.read_text().splitlines()
        return [line for line in lines if not line.startswith("train: ")]


@pytest.mark.long
def test_a_lost_process_ends_the_run_and_the_next_one_goes_on(made, tmp_path, edit):
    whole, lost = Stage(tmp_path / "whole", made, edit), Stage(tmp_path / "lost", made, edit)
    expected = whole.finish(whole.start())
    line, following = lost.lose(lost.start())
    assert following == "Next: source .venv/bin/activate && dvc repro"
    assert re.fullmatch(
        r"Cannot train the model: train: process [12] of 2 was lost \(SIGKILL\); run the stage train again: "
        "it continues after the last epoch",
        line,
    )
    assert not (lost.folder / "models").exists()
    [checkpoint] = lost.checkpoints.iterdir()
    assert torch.load(checkpoint, weights_only=True)["curve"]
    assert lost.finish(lost.start()) == expected


@pytest.mark.long
def test_torchrun_makes_the_same_model(made, tmp_path, edit):
    one, other = Stage(tmp_path / "one", made, edit), Stage(tmp_path / "other", made, edit)
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert other.finish(other.start(*launcher)) == one.finish(one.start())
