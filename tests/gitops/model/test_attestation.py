"""The statement about a model that GitHub signs."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops.cli import app
from tests.support.figures import model_files
from tests.support.lab import Lab

CONTENT = b"not quite ONNX"
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def release(lab: Lab) -> str:
    out = f"{{path: models/model.onnx, hash: md5, md5: {MD5}, size: {len(CONTENT)}}}"
    lock = f"schema: '2.0'\nstages:\n  export:\n    cmd: make it\n    outs:\n    - {out}\n"
    files = model_files("a", 0.9)
    figures = json.loads(files["metrics/evaluation.json"]) | {"model_sha256": SHA256}
    return lab.land(
        files | {"dvc.lock": lock.encode(), "metrics/evaluation.json": json.dumps(figures).encode()}
    )


def attest(lab: Lab, release: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    lab.clone.fetch("origin")
    monkeypatch.chdir(lab.clone.path)
    return CliRunner().invoke(app, ["github", "attestation", "--head", release, "--out", str(out)])


def test_the_digest_is_that_of_the_file_on_the_remote(
    lab: Lab, release: str, dvc_remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = dvc_remote / "files" / "md5" / MD5[:2] / MD5[2:]
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(len(CONTENT)))
    out = tmp_path / "statement.json"
    refused = attest(lab, release, out, monkeypatch)
    assert (refused.exit_code, "is damaged on the DVC remote" in refused.stderr) == (1, True)
    assert not out.exists()
    file.write_bytes(CONTENT)
    done = attest(lab, release, out, monkeypatch)
    assert done.stdout == f"digest=sha256:{SHA256}\n"
    statement = json.loads(out.read_text())
    assert (statement["release"], statement["bytes"]) == (release, len(CONTENT))
    assert statement["mean_accuracy"] == 0.9


def test_without_a_remote_nothing_is_attested(
    lab: Lab, release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = attest(lab, release, tmp_path / "statement.json", monkeypatch)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no DVC remote is configured: the model is not attested" in done.stderr
