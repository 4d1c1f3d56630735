"""A tiny Visage on real git repositories: a bare origin, and a clone that works with it."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitops.git.repository import Repository
from gitops.promotion.merge import merge
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import Proposal, push
from gitops.release import keys
from gitops.release.checks import Check
from gitops.release.keys import PrivateKey
from gitops.release.load import fetch_state
from gitops.release.runtimes import Runtime
from gitops.release.state import ReleaseState
from gitops.release.verdicts import Verdict, record
from tests.support.environments import THESE
from tests.support.figures import model_files

ROOT = Path(__file__).parents[2]

DAG = b"""from airflow.sdk import DAG

with DAG("example", schedule=None):
    pass
"""

PIPELINE = b"stages:\n  export:\n    cmd: make it\n    outs: [models/model.onnx]\n"
"""The `dvc.yaml` to which the lock of `model_files` belongs."""


CHECKS = (
    Check(name="DAG files", value="4 DAGs", limit="all load", result="passed"),
    Check(name="failed runs", value="score_faces 3 of 3", limit="0 of 9 before", result="failed"),
)


class Lab:
    """An origin, a clone of it, and what people and environments do with them."""

    remote = "origin"

    def __init__(self, folder: Path, template: Path | None = None) -> None:
        """Make it in `folder`; as a copy of one that was made before, where there is one."""
        self.origin, self.clone = Repository(folder / "origin.git"), Repository(folder / "clone")
        self.keys = folder / "keys"
        """The private key of each environment."""
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
        for environment in THESE:
            for name in ("environment.yaml", "settings.env"):
                path = f"environments/{environment}/{name}"
                files[path] = (ROOT / path).read_bytes()
            release = b"follow: main\n" if THESE.follows(environment) else b"commit: null\n"
            files[f"environments/{environment}/release.yaml"] = release
            files[keys.path_of(environment)] = self.key(environment).line(environment)
        first = self.origin.commit_files(None, files, "Start")
        self.origin.git("update-ref", "refs/heads/main", first)
        Repository.clone(str(self.origin.path), self.clone.path, "--template=")

    @property
    def tip(self) -> str:
        return self.origin.resolve("refs/heads/main")

    def key(self, environment: str) -> PrivateKey:
        """Return the key of an environment, a new one where it has none."""
        return PrivateKey.create(self.keys / environment)

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

    @staticmethod
    def verdict(
        environment: str,
        commit: str,
        verdict: str = "verified",
        *,
        at: datetime | None = None,
        checks: Sequence[Check] = (),
        runtime: Runtime | None = None,
        again: bool = False,
        accuracy: float = 0.9,
    ) -> Verdict:
        return Verdict.model_validate(
            {
                "verdict": verdict,
                "environment": environment,
                "release": commit,
                "claimed_accuracy": accuracy,
                "measured_accuracy": accuracy,
                "onnxruntime": "1.0",
                "samples": 2000,
                "at": at or datetime.now(UTC),
                "checks": tuple(checks),
                "runtime": runtime,
                "again": again,
            }
        )

    def verify(
        self,
        environment: str,
        commit: str,
        verdict: str = "verified",
        *,
        at: datetime | None = None,
        checks: Sequence[Check] = (),
        runtime: Runtime | None = None,
        again: bool = False,
        accuracy: float = 0.9,
    ) -> None:
        self.clone.fetch(self.remote)
        given = self.verdict(
            environment,
            commit,
            verdict,
            at=at,
            checks=checks,
            runtime=runtime,
            again=again,
            accuracy=accuracy,
        )
        record(self.clone, self.remote, given, self.key(environment))

    def state(self) -> ReleaseState:
        return fetch_state(self.clone, self.remote)

    def promote(self, environment: str) -> Proposal:
        """Propose a promotion and push its branch."""
        state = self.state()
        proposal = promote(self.clone, state, environment, self.remote)
        push(self.clone, self.remote, proposal)
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
