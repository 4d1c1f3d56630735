"""What a DAG processor sees in dags/; environments that run a release with a model of profile small."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.dag_smoke_test.plan import TRAINING, land_model
from infra.dag_smoke_test.sandbox import Sandbox, sandbox
from tests.support import dagbag
from tests.support.planted import Ground

ROOT = Path(__file__).resolve().parents[2]

# The DAGs that do not start paused where `parsed` looks at them.
ACTIVE = {"score_faces", "score_shadow", "verify_release"}


@dataclass(frozen=True)
class Trained:
    """The environments, the release that they run, and a folder of 32 drawn faces."""

    environments: Sandbox
    release: str
    faces: Path

    @property
    def ground(self) -> Ground:
        """Where other models are planted."""
        layout, origin = self.environments.layout, self.environments.origin.repository
        return Ground(origin, layout.dvc_remote, layout.paths_of("dev").verifier_key, self.release)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with sandbox(ROOT, tmp_path_factory.mktemp("trained")) as made:
        ran = made.test("dev", TRAINING, conf={"profile": "small"}, seconds=1500)
        assert ran.status == 0, ran.output[-3000:]
        faces = tmp_path_factory.mktemp("faces") / "drawn"
        made.run(["-m", "face_attributes", "draw", str(faces), "--count", "32", "--seed", "5"])
        yield Trained(made, land_model(made), faces / "img_align_celeba")


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a DAG processor sees in dags/."""
    home = tmp_path_factory.mktemp("airflow")
    return dagbag.load(ROOT / "dags", home=home, ACTIVE_DAGS=",".join(sorted(ACTIVE)))[0]
