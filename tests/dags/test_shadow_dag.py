"""A shadow beside a release, as `airflow dags test` runs it, with models that were really trained."""

import hashlib
import json
import shutil
from pathlib import Path

import onnx
import pyarrow.parquet as pq
import pytest

from gitops.gates.shadows import reports
from gitops.model.evaluation import Evaluation
from gitops.release import file as release_file
from gitops.release.file import Release
from gitops.release.keys import PrivateKey
from gitops.release.load import load_state
from gitops.training.verification import judge
from tests.dags.conftest import Trained

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

MODEL = "models/model.onnx"


def model_of(trained: Trained) -> bytes:
    """Return the model that the release runs, from the DVC remote."""
    return stored(trained, recorded(trained)).read_bytes()


def recorded(trained: Trained) -> str:
    lock = trained.environments.origin.repository.read(trained.release, "dvc.lock") or b""
    lines = lock.decode().splitlines()
    place = next(number for number, line in enumerate(lines) if line.endswith(f"path: {MODEL}"))
    return next(line.split()[-1] for line in lines[place:] if "md5:" in line and "hash:" not in line)


def stored(trained: Trained, md5: str) -> Path:
    return trained.environments.layout.dvc_remote / "files" / "md5" / md5[:2] / md5[2:]


def plant(trained: Trained, model: bytes) -> str:
    """Put a commit with another model on main, its file on the DVC remote, and let staging try it.

    dev has verified it: it is a model that works there, and may do otherwise in staging.
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
    claim = Evaluation.model_validate(evaluation)
    verdict = judge(commit, "dev", claim, claim)
    key = PrivateKey.load(trained.environments.layout.paths_of("dev").verifier_key)
    made = origin.tag(commit, verdict.tag, verdict.message, at=verdict.at, sign=key.sign)
    origin.git("update-ref", f"refs/tags/{verdict.tag}", made)
    declared = release_file.render(Release(commit=trained.release, shadow=commit), "staging")
    path = release_file.path_of("staging")
    tip = origin.commit_files(commit, {path: declared}, "Try it in staging")
    origin.git("update-ref", "refs/heads/main", tip)
    return commit


def reported(trained: Trained, commit: str):
    origin = trained.environments.origin.repository
    found = reports(origin, load_state(origin).lists, "staging")
    return next(report for report in found if report.release == commit)


def test_a_shadow_scores_the_same_batches_and_harms_nothing(trained: Trained, tmp_path: Path) -> None:
    home = trained.environments.data("staging")
    shutil.copytree(trained.faces, home / "incoming" / "shadowed")
    assert trained.environments.test("staging", "score_faces").status == 0
    (scores,) = (home / "scores").rglob("shadowed.parquet")
    before = scores.read_bytes()
    nothing = trained.environments.test("staging", "score_shadow")
    assert nothing.status == 0
    assert "main declares no shadow for this environment" in nothing.output

    # A model that answers otherwise about one attribute
    loaded = onnx.load_model_from_string(model_of(trained))
    (thresholds,) = [entry for entry in loaded.metadata_props if entry.key == "thresholds"]
    thresholds.value = json.dumps([2.0, *json.loads(thresholds.value)[1:]])
    commit = plant(trained, loaded.SerializeToString())
    ran = trained.environments.test("staging", "score_shadow")
    assert ran.status == 0, ran.output[-3000:]
    report = reported(trained, commit)
    assert report.incumbent == trained.release
    assert (report.failed, report.images >= 32) == (0, True)
    assert report.figures is not None
    (tried,) = (home / "shadows" / commit[:12]).rglob("shadowed.parquet")
    own, other = pq.read_table(scores), pq.read_table(tried)
    assert set(other["release"].to_pylist()) == {commit}
    name = json.loads(next(e.value for e in loaded.metadata_props if e.key == "attributes"))[0]
    assert not any(other[name].to_pylist())
    rest = [row.agreement for key, row in report.figures.per_attribute.items() if key != name]
    assert rest == [1.0] * len(rest)
    assert own.num_rows == other.num_rows == 32
    assert scores.read_bytes() == before
    again = trained.environments.test("staging", "score_shadow")
    assert "has scored every batch" in again.output

    # One that crashes: it is no model at all. The results of the one before it go.
    broken = plant(trained, b"no ONNX file")
    crashed = trained.environments.test("staging", "score_shadow")
    assert crashed.status == 0, crashed.output[-3000:]
    report = reported(trained, broken)
    assert report.figures is None
    assert report.failed >= 1
    assert "not a readable ONNX file" in report.reason
    assert scores.read_bytes() == before
    assert [path.name for path in (home / "shadows").iterdir()] == [broken[:12]]
    shutil.copytree(trained.faces, home / "incoming" / "after")
    assert trained.environments.test("staging", "score_faces").status == 0
    assert list((home / "scores").rglob("after.parquet"))
