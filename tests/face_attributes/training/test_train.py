import csv
import json

import pytest
import torch

from face_attributes.model import weights
from face_attributes.training import hyperparameters, loop
from face_attributes.training.train import train


def test_figures_of_the_training(made, data):
    figures = json.loads(made.training.read_text())
    assert figures["epochs"] == 5
    assert figures["ended_by"] == "epochs"
    assert figures["precision"] == "float32"
    assert figures["bfloat16_gain"] is None
    assert figures["train_images"] == len(data.train)
    assert 0.5 < figures["validation_accuracy"] < 1


def test_the_learning_curve_has_a_row_for_each_epoch(made):
    rows = list(csv.DictReader(made.curve.open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])


def test_the_search_decides_the_width(made, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path))
    found = hyperparameters.read(made.best) | {"width": 8}
    hyperparameters.write(tmp_path / "best.json", found)
    short = tiny.model_copy(update={"train": tiny.train.model_copy(update={"epochs": 1})})
    train(
        short,
        made.prepared,
        tmp_path / "best.json",
        tmp_path / "m.pt",
        tmp_path / "c.csv",
        tmp_path / "t.json",
    )
    assert weights.load(tmp_path / "m.pt").width == 8


def test_a_killed_training_ends_as_the_same_file(made, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path))
    judge = loop._judge

    def killed(network, part, runtime, epoch, *rest):
        if epoch == 2:
            raise KeyboardInterrupt
        return judge(network, part, runtime, epoch, *rest)

    def run():
        train(tiny, made.prepared, made.best, tmp_path / "m.pt", tmp_path / "c.csv", tmp_path / "t.json")

    monkeypatch.setattr(loop, "_judge", killed)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not (tmp_path / "m.pt").exists()
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    monkeypatch.setattr(loop, "_judge", judge)
    run()
    assert (tmp_path / "m.pt").read_bytes() == made.weights.read_bytes()
    assert (tmp_path / "c.csv").read_text() == made.curve.read_text()
    assert not list((tmp_path / "checkpoints").iterdir())


def test_the_number_of_cores_and_of_threads_before_changes_no_weight(made, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path))
    three = tiny.model_copy(update={"train": tiny.train.model_copy(update={"epochs": 1, "threads": 3})})
    found = []
    for threads, cores in ((1, "1"), (2, "5")):
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", cores)
        torch.set_num_threads(threads)
        names = [tmp_path / f"{threads}.{suffix}" for suffix in ("pt", "csv", "json")]
        train(three, made.prepared, made.best, *names)
        found.append(names[0].read_bytes())
    torch.set_num_threads(1)
    assert found[0] == found[1]
