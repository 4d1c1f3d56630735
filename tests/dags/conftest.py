"""Environments that run a release with a model, trained at profile small."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.rehearsal.plan import TRAINING, land_model
from infra.rehearsal.sandbox import Sandbox, sandbox

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Trained:
    """The environments, the release that they run, and a folder of 32 drawn faces."""

    environments: Sandbox
    release: str
    faces: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with sandbox(ROOT, tmp_path_factory.mktemp("trained")) as made:
        ran = made.test("dev", TRAINING, conf={"profile": "small"}, seconds=600)
        assert ran.status == 0, ran.output[-3000:]
        faces = tmp_path_factory.mktemp("faces") / "drawn"
        made.run(["-m", "face_attributes", "draw", str(faces), "--count", "32", "--seed", "5"])
        yield Trained(made, land_model(made), faces / "img_align_celeba")
