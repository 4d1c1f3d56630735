"""A tiny Visage on real git repositories: a bare origin, and a clone that works with it."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitops.forge.client import GitHub
from gitops.git.repository import Repository
from gitops.promotion.merge import merge
from gitops.promotion.proposals import Proposal, promote, push
from gitops.release.file import ENVIRONMENTS
from gitops.release.state import Ledger
from gitops.release.verdicts import Verdict, record
from tests.workflows.forge import NAME, Forge
from tests.workflows.server import serve

ROOT = Path(__file__).parents[2]

DAG = b"""from airflow.sdk import DAG

with DAG("example", schedule=None):
    pass
"""

PIPELINE = b"stages:\n  export:\n    cmd: make it\n    outs: [models/model.onnx]\n"
"""The `dvc.yaml` to which the lock of `model_files` belongs."""


def model_files(
    name: str, accuracy: float = 0.9, *, profile: str = "full", samples: int = 2000, difference: float = 1e-6
) -> dict[str, bytes]:
    """What a training run leaves in git."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    luck = 1.96 * (accuracy * (1 - accuracy) / samples) ** 0.5
    evaluation: dict[str, Any] = {
        "profile": profile,
        "mean_accuracy": accuracy,
        "mean_accuracy_low": max(accuracy - luck, 0),
        "mean_accuracy_high": min(accuracy + luck, 1),
        "majority_accuracy": 0.8,
        "mean_balanced_accuracy": 0.75,
        "model_sha256": digest,
        "samples": samples,
        "per_attribute": {"Smiling": {"accuracy": accuracy}},
    }
    export = {
        "max_difference": difference,
        "tolerance": 1e-3,
        "decisions_changed": 0,
        "variant": "int8",
        "accuracy_loss": 0.0002,
        "max_accuracy_loss": 0.001,
        "model_sha256": digest,
    }
    outs = f"    outs:\n    - path: models/model.onnx\n      md5: {digest[:32]}\n"
    lock = f"schema: '2.0'\nstages:\n  export:\n    cmd: make it\n{outs}"
    return {
        "dvc.lock": lock.encode(),
        "metrics/evaluation.json": json.dumps(evaluation).encode(),
        "metrics/export.json": json.dumps(export).encode(),
    }


COMPARISON: dict[str, Any] = {
    "format": 2,
    "model_sha256": "a" * 64,
    "incumbent_sha256": "b" * 64,
    "holdout_sha256": "c" * 64,
    "samples": 2000,
    "resamplings": 10000,
    "mean_accuracy": {
        "accuracy": 0.901,
        "incumbent": 0.902,
        "difference": -0.001,
        "low": -0.004,
        "high": 0.002,
        "p_worse": 0.3,
    },
    "per_attribute": {
        name: {
            "accuracy": 0.9,
            "incumbent": 0.902,
            "difference": -0.002,
            "low": -0.006,
            "high": 0.002,
            "p_worse": 0.3,
            "p_worse_holm": 0.6,
            "rare": {
                "count": 600,
                "others": 1400,
                "found": 480,
                "false": 80,
                "incumbent_found": 482,
                "incumbent_false": 78,
                "lost": 12,
                "gained": 10,
            },
        }
        for name in ("Smiling", "Male")
    },
    "slices": {
        "dark": {
            "by": "brightness",
            "count": 600,
            "accuracy": 0.9,
            "incumbent": 0.906,
            "difference": -0.006,
            "low": -0.013,
            "high": 0.001,
            "p_worse": 0.06,
            "p_worse_holm": 0.06,
        }
    },
    "only_model": [],
    "only_incumbent": [],
    "latency": {
        "batch_1": {"p50_ms": 3.0, "incumbent_p50_ms": 2.0, "ratio": 1.5},
        "batch_64": {"p50_ms": 99.0, "incumbent_p50_ms": 90.0, "ratio": 1.1},
    },
    "size": {"bytes": 1_100_000, "incumbent_bytes": 1_000_000, "ratio": 1.1},
    "onnxruntime": "1.0",
    "cores": 2,
}
"""What the command `compare` of a release writes."""


class Lab:
    """An origin, a clone of it, and what people and environments do with them."""

    remote = "origin"

    def __init__(self, folder: Path, template: Path | None = None) -> None:
        """Make it in `folder`; as a copy of one that was made before, where there is one."""
        self.origin, self.clone = Repository(folder / "origin.git"), Repository(folder / "clone")
        if template is not None:
            shutil.copytree(template, folder)
            self.clone.git("remote", "set-url", "origin", str(self.origin.path))
            return
        self.origin.path.mkdir(parents=True)
        self.origin.git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".")
        files: dict[str, bytes | None] = {
            "dags/example.py": DAG,
            "src/face_attributes/__init__.py": b"",
            "params.yaml": b"profile: full\ntrain:\n  learning_rate: 0.1\n",
            "dvc.yaml": PIPELINE,
            "requirements.lock": b"",
            "README.md": b"Visage\n",
        }
        for environment in ENVIRONMENTS:
            path = f"environments/{environment}/settings.env"
            files[path] = (ROOT / path).read_bytes()
        files["environments/dev/release.yaml"] = b"follow: main\n"
        for environment in ("staging", "prod"):
            files[f"environments/{environment}/release.yaml"] = b"commit: null\n"
        first = self.origin.commit_files(None, files, "Start")
        self.origin.git("update-ref", "refs/heads/main", first)
        Repository.clone(str(self.origin.path), self.clone.path, "--template=")

    @property
    def tip(self) -> str:
        return self.origin.resolve("refs/heads/main")

    def commit(
        self, files: Mapping[str, bytes | None], *, on: str | None = None, message: str = "Change"
    ) -> str:
        """Make a commit in origin that no branch has."""
        return self.origin.commit_files(on or self.tip, files, message)

    def land(self, files: Mapping[str, bytes | None], *, message: str = "Change") -> str:
        """Put a commit on main, past all checks."""
        commit = self.commit(files, message=message)
        self.origin.git("update-ref", "refs/heads/main", commit)
        return commit

    def branch(self, name: str, files: Mapping[str, bytes | None], *, on: str | None = None) -> str:
        commit = self.commit(files, on=on)
        self.origin.git("update-ref", f"refs/heads/{name}", commit)
        return commit

    def train(self, name: str, accuracy: float = 0.9, *, verified: bool = True, **options: Any) -> str:
        """Put a model, and with it a release, on main, which dev then verifies."""
        commit = self.land(model_files(name, accuracy, **options), message=f"Model {name}")
        if verified:
            self.verify("dev", commit)
        return commit

    def declare(self, environment: str, content: str) -> str:
        """Edit a release file on main by hand, past all checks."""
        return self.land({f"environments/{environment}/release.yaml": content.encode()}, message="By hand")

    def verdict(
        self, environment: str, commit: str, verdict: str = "verified", *, at: datetime | None = None
    ) -> Verdict:
        return Verdict.model_validate(
            {
                "verdict": verdict,
                "environment": environment,
                "release": commit,
                "claimed_accuracy": 0.9,
                "measured_accuracy": 0.9,
                "onnxruntime": "1.0",
                "samples": 2000,
                "at": at or datetime.now(UTC),
            }
        )

    def verify(
        self, environment: str, commit: str, verdict: str = "verified", *, at: datetime | None = None
    ) -> None:
        self.clone.fetch(self.remote)
        record(self.clone, self.remote, self.verdict(environment, commit, verdict, at=at))

    def ledger(self) -> Ledger:
        return Ledger.fetch(self.clone, self.remote)

    def promote(self, environment: str) -> Proposal:
        """Propose a promotion and push its branch."""
        ledger = self.ledger()
        proposal = promote(ledger, environment, self.remote)
        push(ledger, self.remote, proposal)
        return proposal

    def merge(self, branch: str) -> str:
        return merge(self.clone, self.remote, branch).commit

    def release(self, environment: str) -> str:
        """Promote into an environment, merge, and let it verify; returns the release."""
        proposal = self.promote(environment)
        self.merge(proposal.branch)
        assert proposal.after.commit is not None
        self.verify(environment, proposal.after.commit)
        return proposal.after.commit


@pytest.fixture(scope="session")
def labs() -> list[Path]:
    """The lab that all others are copies of, once it is made."""
    return []


@pytest.fixture
def lab(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, labs: list[Path]) -> Lab:
    if not labs:
        folder = tmp_path_factory.mktemp("labs") / "lab"
        Lab(folder)
        labs.append(folder)
    return Lab(tmp_path / "lab", labs[0])


@pytest.fixture
def dvc_remote(tmp_path: Path, isolated_home: Path) -> Path:
    """A DVC remote in a folder, which the environment names and the repository does not."""
    folder = tmp_path / "dvc-remote"
    folder.mkdir()
    config = isolated_home / "dvc" / "config"
    config.parent.mkdir()
    config.write_text(
        f"[core]\nremote = storage\nanalytics = false\n['remote \"storage\"']\nurl = {folder}\n"
    )
    return folder


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    """A stand-in for GitHub, with a repository that has one commit."""
    made = Forge(tmp_path / "github")
    made.repository.path.mkdir(parents=True)
    made.repository.git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".")
    made.repository.git("config", "http.receivepack", "true")
    first = made.repository.commit_files(None, {"a": b"a"}, "Start")
    made.repository.git("update-ref", "refs/heads/main", first)
    with serve(made):
        yield made


def client(forge: Forge, **permissions: str) -> GitHub:
    """Return a client of the stand-in whose token has these permissions."""
    return GitHub(NAME, forge.token("test", permissions), api=f"{forge.url}/api", pause=0.001)
