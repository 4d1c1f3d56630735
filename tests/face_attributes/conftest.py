"""Faces, and a model that has learnt a little of them, made once for all tests."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from face_attributes import params
from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.data import arrays, prepare
from face_attributes.data.collect import collect
from face_attributes.data.drawn_folder import draw_folder
from face_attributes.evaluation import evaluate
from face_attributes.model import export
from face_attributes.params import Params
from face_attributes.training import hyperparameters, train
from tests.support.once import once

FACES = 240
SHRINK = 6


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep PyTorch to one thread: on a busy machine several wait for each other longer than they work."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Params:
    """Parameters with budgets for tests."""
    return Params.model_validate(
        {
            "profile": "full",
            "data": {
                "source": "synthetic",
                "attributes": None,
                "max_images": None,
                "max_bad_fraction": 0.05,
                "align": "auto",
                "synthetic": {"count": FACES, "seed": 3},
            },
            "prepare": {"shrink": SHRINK, "sample": 20},
            "tune": {
                "trials": 7,
                "minutes": 10.0,
                "images": 64,
                "epochs": 2,
                "seed": 1,
                "space": {
                    "learning_rate": {"low": 0.0005, "high": 0.008},
                    "weight_decay": {"low": 0.001, "high": 0.3},
                    "dropout": {"low": 0.1, "high": 0.6},
                    "width": [8, 16],
                    "augmentation": {"low": 0.4, "high": 1.6},
                },
            },
            "train": {
                "seed": 1,
                "epochs": 5,
                "max_minutes": None,
                "batch_size": 16,
                "learning_rate": 0.002,
                "weight_decay": 0.05,
                "dropout": 0.3,
                "width": 16,
                "augmentation": 1.0,
                "ema_decay": 0.998,
                "precision": "float32",
                "device": "cpu",
                "threads": 1,
            },
            "export": {"variant": "auto", "tolerance": 1e-4, "max_accuracy_loss": 0.01},
            "evaluate": {"bootstrap": 50, "seed": 1, "worst": 4},
        }
    )


@pytest.fixture(scope="session")
def edit() -> Callable[..., Path]:
    """Return a function that sets keys of a parameter file: `edit(path, {"train.epochs": 0})`."""

    def change(path: Path, changes: dict[str, object]) -> Path:
        yaml = YAML()
        document = yaml.load(path)
        for where, value in changes.items():
            *sections, key = where.split(".")
            section = document
            for name in sections:
                section = section[name]
            section[key] = value
        yaml.dump(document, path)
        return path

    return change


@dataclass(frozen=True)
class Made:
    """What the stages made of the faces."""

    home: Path

    @property
    def faces(self) -> Path:
        return self.home / "home/raw"

    @property
    def raw(self) -> Path:
        return self.home / "data/raw"

    @property
    def prepared(self) -> Path:
        return self.home / "data/prepared"

    @property
    def holdout(self) -> Path:
        return self.home / "data/holdout.parquet"

    @property
    def sample(self) -> Path:
        return self.home / "data/sample.parquet"

    @property
    def best(self) -> Path:
        return self.home / "search/best.json"

    @property
    def weights(self) -> Path:
        return self.home / "models/model.pt"

    @property
    def curve(self) -> Path:
        return self.home / "plots/learning_curve.csv"

    @property
    def training(self) -> Path:
        return self.home / "metrics/training.json"

    @property
    def variants(self) -> Path:
        return self.home / "models/variants"

    @property
    def model(self) -> Path:
        return self.home / "models/model.onnx"

    @property
    def parity(self) -> Path:
        return self.home / "metrics/export.json"

    @property
    def evaluation(self) -> Path:
        return self.home / "metrics/evaluation.json"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, tiny: Params) -> Made:
    """Run every stage but the search, once for all tests of all workers; no test may change it."""

    def run(home: Path) -> None:
        made = Made(home)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VISAGE_HOME", str(home / "home"))
            draw_folder(tiny.data.synthetic, made.faces, progress=False)
            collect(tiny.data, made.raw)
            prepare.prepare(tiny.prepare, made.raw, home / "none", made.prepared, made.holdout, made.sample)
            hyperparameters.write(made.best, {name: getattr(tiny.train, name) for name in params.SEARCHED})
            train.train(tiny, made.prepared, made.best, made.weights, made.curve, made.training)
            export.export(tiny.export, made.weights, made.sample, made.variants, made.model, made.parity)
            with contextlib.chdir(home):
                evaluate.run(tiny.evaluate, "synthetic")

    return Made(once(tmp_path_factory, "made", run))


@pytest.fixture(scope="session")
def data(made: Made) -> arrays.Prepared:
    return arrays.load(made.prepared)


def _jpeg(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    rough = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    pixels = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


@pytest.fixture
def jpeg() -> Callable[..., bytes]:
    """Return a function that makes a JPEG of coloured clouds: `jpeg(seed, width, height)`."""
    return _jpeg


@pytest.fixture
def celeba_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a folder in the CelebA layout, some sixty images of two attributes."""

    def write(
        count: int = 60,
        attributes: Sequence[str] = ("Smiling", "Male"),
        flavour: str = "txt",
        partition: bool = True,
    ) -> Path:
        folder = tmp_path / "celeba"
        images = folder / "img_align_celeba"
        images.mkdir(parents=True)
        names = [f"{index + 1:06d}.jpg" for index in range(count)]
        for index, name in enumerate(names):
            (images / name).write_bytes(_jpeg(index))
        separator = " " if flavour == "txt" else ","
        rows = [
            separator.join([name, *("1" if (index >> bit) % 2 else "-1" for bit in range(len(attributes)))])
            for index, name in enumerate(names)
        ]
        parts = [f"{name}{separator}{index % 3}" for index, name in enumerate(names)]
        if flavour == "txt":
            head, part_head = [str(count), " ".join(attributes)], []
        else:
            head, part_head = [",".join(["image_id", *attributes])], ["image_id,partition"]
        (folder / f"list_attr_celeba.{flavour}").write_text("\n".join([*head, *rows]) + "\n")
        if partition:
            (folder / f"list_eval_partition.{flavour}").write_text("\n".join([*part_head, *parts]) + "\n")
        return folder

    return write


@pytest.fixture
def data_params(tiny: Params) -> Callable[..., params.DataParams]:
    """Return a function that gives the parameters of two-attribute photographs, changed as asked."""

    def change(**changes: object) -> params.DataParams:
        start = {"source": "celeba", "attributes": ["Smiling", "Male"]}
        return tiny.data.model_copy(update=start | changes)

    return change
