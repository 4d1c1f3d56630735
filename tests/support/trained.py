"""A Visage that has trained, by the functions that the tasks of its pipeline call, on very little data.

Every file of its commits was written by a stage, by DVC or by `gitops`. The data are few, so the model is a
poor one that still passes the gates.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.model import drift_comparison
from gitops.model.evaluation import evaluation
from gitops.paths import EVALUATION
from gitops.promotion.merge import merge
from gitops.promotion.proposals import Proposal, push
from gitops.release.keys import PrivateKey, path_of
from gitops.release.load import fetch_state
from gitops.release.state import ReleaseState
from gitops.release.verdicts import Verdict, record
from gitops.training.candidate import candidate_branch, propose, run_branch
from gitops.training.stages import run_command
from tests.docs import places
from tests.support.environments import THESE
from visage_dags import labelled

RUN = "manual__2026-01-07T00:00:00+00:00"
BATCH = "dev-2026-01-06"
STAGES = ("collect", "prepare", "tune", "train", "export", "evaluate", "card", "reference")
BASE = "refs/visage/base"
# As params.small.yaml, and still less.
LITTLE = {
    "data": {"synthetic": {"count": 440}},
    "prepare": {"sample": 60},
    "tune": {"trials": 1, "images": 100, "epochs": 1},
    "train": {"epochs": 12, "batch_size": 16, "width": 8, "precision": "float32", "device": "cpu"},
    "evaluate": {"bootstrap": 50, "worst": 4},
}


@dataclass(frozen=True)
class Trained:
    """A checkout of main, and its origin, which also has the branch of a candidate."""

    folder: Path

    @property
    def checkout(self) -> Repository:
        return Repository(self.folder / "checkout")

    @property
    def origin(self) -> Repository:
        return Repository(self.folder / "origin.git")

    @property
    def branch(self) -> str:
        """The branch of the candidate."""
        return candidate_branch(RUN)

    @property
    def base(self) -> str:
        """The commit of main that the candidate was trained from."""
        return self.origin.resolve(BASE)

    @property
    def candidate(self) -> str:
        return self.origin.resolve(f"refs/heads/{self.branch}")

    def copy(self, folder: Path) -> "Trained":
        """Copy checkout and origin, for a test that changes them; data and models are not copied."""
        for name in ("checkout", "origin.git", "keys"):
            shutil.copytree(self.folder / name, folder / name, symlinks=True)
        made = Trained(folder)
        made.checkout.git("remote", "set-url", "origin", str(made.origin.path))
        return made

    def copy_whole(self, folder: Path) -> "Trained":
        """Copy data and models too, for a test that trains again."""
        shutil.copytree(self.folder, folder, symlinks=True)
        made = Trained(folder)
        made.checkout.git("remote", "set-url", "origin", str(made.origin.path))
        return made

    def merge(self, branch: str) -> str:
        """Merge a branch as `gitops merge` does, and check main out."""
        merge(self.checkout, "origin", branch)
        return self.check_out("origin/main")

    def check_out(self, revision: str) -> str:
        """Let the branch main of the checkout be a commit of origin."""
        self.checkout.git("fetch", "--quiet", "origin")
        self.checkout.git("reset", "--quiet", "--hard", revision)
        places.keep_installed(self.checkout.path)
        return self.checkout.resolve("HEAD")

    def commit(self, message: str) -> str:
        """Commit what is new in the checkout, and put it on origin's main."""
        self.checkout.git("add", "--all")
        variables = self.checkout.identity()
        self.checkout.git("commit", "--quiet", "--no-verify", "--message", message, env=variables)
        self.checkout.git("push", "--quiet", "origin", "HEAD:main")
        return self.checkout.resolve("HEAD")

    def state(self) -> ReleaseState:
        return fetch_state(self.checkout, "origin")

    def push(self, proposal: Proposal) -> str:
        """Push a promotion or a rollback, and return its branch."""
        push(self.checkout, "origin", proposal)
        return proposal.branch

    def verify(self, environment: str, commit: str) -> None:
        """Record that an environment measured what the commit claims."""
        claimed = evaluation(self.checkout.read(commit, EVALUATION), commit)
        data = {
            "verdict": "verified",
            "environment": environment,
            "release": commit,
            "claimed_accuracy": claimed.mean_accuracy,
            "measured_accuracy": claimed.mean_accuracy,
            "onnxruntime": "1.0",
            "samples": claimed.samples,
            "at": datetime.now(UTC),
        }
        key = PrivateKey.load(self.folder / "keys" / environment)
        record(self.checkout, "origin", Verdict.model_validate(data), key)


def train(folder: Path) -> Trained:
    """Train in `folder` and propose the result, in the order of dags/ml_pipeline_dag.py."""
    checkout = Repository(places.clone(folder / "checkout").folder)
    _take_little(checkout.path / "params.yaml")
    for environment in THESE:
        key = PrivateKey.create(folder / "keys" / environment)
        (checkout.path / path_of(environment)).write_bytes(key.line(environment))
    checkout.git("checkout", "--quiet", "-B", "main")
    checkout.git("add", "--all")
    variables = checkout.identity()
    checkout.git("commit", "--quiet", "--no-verify", "--message", "Take little data", env=variables)
    base = checkout.resolve("HEAD")
    origin = Repository.clone(str(checkout.path), folder / "origin.git", "--bare")
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    origin.git("update-ref", BASE, base)
    checkout.git("remote", "set-url", "origin", str(origin.path))
    with dvc(folder):
        batch = folder / "home" / "labelled" / BATCH
        batch.parent.mkdir(parents=True)
        call(["draw", str(batch), "--count", "20", "--seed", "7"])
        _propose(folder, base, RUN, BATCH)
    return Trained(folder)


def train_again(trained: Trained, base: str, run: str, batch: str) -> str:
    """Train a second time, from a commit of main, with a labelled batch; return the branch of the candidate.

    The batch is in `home/labelled`, and `dvc` has to be entered.
    """
    return _propose(trained.folder, base, run, batch)


def _propose(folder: Path, base: str, run: str, batch: str) -> str:
    pointer, commit = labelled.pointer(batch), base
    earlier = Repository(folder / "origin.git").files(base, "data/labelled")
    batches = [*(path for path in earlier if path.endswith(".dvc")), pointer]
    model, program = "models/model.onnx", ["python", "-m", "face_attributes"]
    options = ["--model", model, "--incumbent", model]
    steps = (
        (
            f"Append labelled batch {batch}",
            [*program, "append", str(folder / "home" / "labelled" / batch)],
            [pointer],
            [],
        ),
        ("Run every stage", ["dvc", "repro"], STAGES, batches),
        (
            f"Compare with the incumbent on {batch}",
            [*program, "compare", *options, "--batch", batch, "--out", drift_comparison.PATH],
            [],
            [model, "data/holdout.parquet"],
        ),
    )
    place, home, branch = Origin(str(folder / "origin.git")), folder / "spaces", run_branch(run)
    for message, command, made, needed in steps:
        commit = run_command(
            place,
            commit,
            command,
            branch=branch,
            home=home,
            message=message,
            data=made,
            needs=needed,
            # All stages at once, perhaps on a busy machine
            timeout=timedelta(minutes=30),
        )
    proposed = propose(place, base, commit, run_id=run, home=home)
    assert proposed == candidate_branch(run)
    return proposed


@contextmanager
def dvc(folder: Path) -> Iterator[None]:
    """Let DVC keep everything in `folder`, its remote too."""
    (folder / "store").mkdir(exist_ok=True)
    config = folder / "dvc" / "config"
    config.parent.mkdir(exist_ok=True)
    config.write_text(
        f"[core]\nremote = storage\nanalytics = false\n['remote \"storage\"']\nurl = {folder / 'store'}\n"
        f'[cache]\ndir = {folder / "cache"}\ntype = "hardlink,symlink"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("DVC_GLOBAL_CONFIG_DIR", str(config.parent))
        patch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site-cache"))
        patch.setenv("VISAGE_HOME", str(folder / "home"))
        yield


def _take_little(path: Path) -> None:
    yaml = YAML()
    yaml.width = 1000
    document = yaml.load(path)
    for section, values in LITTLE.items():
        for name, value in values.items():
            if isinstance(value, dict):
                document[section][name].update(value)
            else:
                document[section][name] = value
    with path.open("w") as file:
        yaml.dump(document, file)


def call(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "face_attributes", *arguments]
    subprocess.run(command, env=os.environ, check=True, timeout=300, capture_output=True)
