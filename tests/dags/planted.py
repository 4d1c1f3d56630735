"""Another model on main, planted for an environment to try, past all checks."""

import hashlib
import json
from pathlib import Path

import onnx

from gitops.gates.shadows import Shadowed, reports
from gitops.model.evaluation import Evaluation
from gitops.release import file as release_file
from gitops.release.file import Release
from gitops.release.keys import PrivateKey
from gitops.release.load import load_state
from gitops.training.verification import judge
from tests.dags.conftest import Trained

MODEL = "models/model.onnx"


def model_of(trained: Trained) -> bytes:
    """Return the model that the release runs, from the DVC remote."""
    return stored(trained, recorded(trained)).read_bytes()


def recorded(trained: Trained) -> str:
    lock = trained.environments.origin.repository.read(trained.release, "dvc.lock") or b""
    lines = lock.decode().splitlines()
    place = next(number for number, line in enumerate(lines) if line.endswith(f"path: {MODEL}"))
    return next(line.split()[-1] for line in lines[place:] if "md5:" in line and "hash:" not in line)


def never_the_first(model: bytes) -> onnx.ModelProto:
    """Return a model that never sees its first attribute."""
    loaded = onnx.load_model_from_string(model)
    (thresholds,) = [entry for entry in loaded.metadata_props if entry.key == "thresholds"]
    thresholds.value = json.dumps([2.0, *json.loads(thresholds.value)[1:]])
    return loaded


def stored(trained: Trained, md5: str) -> Path:
    return trained.environments.layout.dvc_remote / "files" / "md5" / md5[:2] / md5[2:]


def plant(trained: Trained, model: bytes, environment: str, *, share: int | None = None) -> str:
    """Put a commit with another model on main, its file on the DVC remote, and let an environment try it.

    dev has verified it: it works there, and may do otherwise here. With `share`, it is a canary.
    """
    origin = trained.environments.origin.repository
    before, md5 = recorded(trained), hashlib.md5(model, usedforsecurity=False).hexdigest()
    place = stored(trained, md5)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(model)
    size = str(stored(trained, before).stat().st_size)
    lock = (origin.read(trained.release, "dvc.lock") or b"").decode()
    lock = lock.replace(before, md5).replace(f"size: {size}\n", f"size: {len(model)}\n")
    evaluation = json.loads(origin.read(trained.release, "metrics/evaluation.json") or b"")
    evaluation["model_sha256"] = hashlib.sha256(model).hexdigest()
    files = {"dvc.lock": lock.encode(), "metrics/evaluation.json": json.dumps(evaluation).encode()}
    commit = origin.commit_files(origin.resolve("main"), files, "Another model")
    origin.git("update-ref", "refs/heads/main", commit)
    claim = Evaluation.model_validate(evaluation)
    verdict = judge(commit, "dev", claim, claim)
    key = PrivateKey.load(trained.environments.layout.paths_of("dev").verifier_key)
    made = origin.tag(commit, verdict.tag, verdict.message, at=verdict.at, sign=key.sign)
    origin.git("update-ref", f"refs/tags/{verdict.tag}", made)
    kind = {"canary": commit, "share": share} if share else {"shadow": commit}
    declare(trained, environment, Release.model_validate({"commit": trained.release, **kind}))
    return commit


def declare(trained: Trained, environment: str, release: Release) -> None:
    """Put a release file on main."""
    origin = trained.environments.origin.repository
    files = {release_file.path_of(environment): release_file.render(release, environment)}
    tip = origin.commit_files(origin.resolve("main"), files, f"Change {environment}")
    origin.git("update-ref", "refs/heads/main", tip)


def reported(trained: Trained, commit: str, environment: str) -> Shadowed:
    """Return the report of an environment on a commit."""
    origin = trained.environments.origin.repository
    found = reports(origin, load_state(origin).lists, environment)
    return next(report for report in found if report.release == commit)
