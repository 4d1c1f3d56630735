"""What an upgrade of packages changes, on a pipeline of the real one's shape."""

import base64
import json
import shutil
from pathlib import Path

import pytest

from gitops.errors import GitopsError, StepError
from gitops.git.repository import Repository
from gitops.report.packages import render
from gitops.training.packages import Measured, measure

# Another version of the packages decides otherwise, and is faster: a second commit stands for it.
CODE = """import base64, json, sys
from pathlib import Path

if "profile" in sys.argv:
    sys.exit(0)
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
model, images = Path(options["--model"]).read_text(), Path(options["--holdout"]).read_text()
folder = Path(options["--details"])
bits = base64.b64encode(bytes([{bits}])).decode()
Path(options["--out"]).write_text("{{}}")
(folder / "latency.json").write_text(json.dumps({{"format": 1, "p50_ms": {milliseconds}}}))
(folder / "decisions.json").write_text(json.dumps({{
    "model_sha256": model, "holdout_md5": images, "samples": 8,
    "images": base64.b64encode(bytes(64)).decode(),
    "attributes": {{"Smiling": {{"truth": bits, "decisions": bits}}}}, "slices": {{}},
}}))
"""
STAGE = """import json
from pathlib import Path

for folder in ("metrics", "plots", "models", "data"):
    Path(folder).mkdir(exist_ok=True)
Path("models/model.onnx").write_text("{digit}" * 64)
Path("data/holdout.parquet").write_text("{digit}" * 32)
figures = {{"profile": "small", "mean_accuracy": {accuracy}, "majority_accuracy": 0.8, "samples": 9}}
Path("metrics/evaluation.json").write_text(json.dumps(figures | {{"model_sha256": "{digit}" * 64}}))
Path("plots/learning_curve.csv").write_text("epoch,train_loss\\n")
"""
PIPELINE = """stages:
  all:
    cmd: python stage.py
    deps: [stage.py]
    outs:
      - models/model.onnx
      - data/holdout.parquet
      - metrics: {cache: false}
      - plots: {cache: false}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "checkout")
    repository.path.mkdir()
    repository.git("init", "--quiet", "--initial-branch=main", "--template=")
    return repository


def versions(checkout: Repository, digit: str, bits: str, milliseconds: float, accuracy: object) -> str:
    files = {
        ".dvc/config": b"[core]\n    analytics = false\n",
        "dvc.yaml": PIPELINE.encode(),
        "stage.py": STAGE.format(digit=digit, accuracy=accuracy).encode(),
        "src/face_attributes/__init__.py": b"",
        "src/face_attributes/__main__.py": CODE.format(bits=bits, milliseconds=milliseconds).encode(),
    }
    return checkout.commit_files(None, files, "Versions")


def test_decisions_speed_and_size_before_and_after(checkout: Repository, tmp_path: Path) -> None:
    old = versions(checkout, "a", "0b11", 2.0, 0.9)
    new = versions(checkout, "b", "0b01", 1.5, 0.8)
    before, after = tmp_path / "before", tmp_path / "after"
    lines: list[str] = []
    measure(checkout, old, before, announce=lines.append)
    measure(checkout, new, after, before=before, announce=lines.append)
    sides = Measured.load(before), Measured.load(after)
    # The new packages answered about the old model and the old images, and trained another model.
    assert [side.decisions.model_sha256[0] for side in sides if side.decisions] == ["a", "a"]
    assert [side.metrics.sha256 for side in sides] == ["a" * 64, "b" * 64]
    text = render(*sides)
    assert "| changed decisions |  | 1 of 8: Smiling 1 | failed |" in text
    assert "| one image, median | 2.00 ms | 1.50 ms | -25% |" in text
    assert "| mean accuracy | 0.9000 | 0.8000 | -0.1000 |" in text
    assert sides[0].installed is not None
    assert 100 < sides[0].installed.packages < 1000
    assert 10**8 < sides[0].installed.bytes < 10**11
    assert checkout.git("for-each-ref") == ""
    assert not [*(checkout.path / ".visage" / "trial-workspaces").glob("*/")]


def test_versions_that_fail_are_named(checkout: Repository, tmp_path: Path) -> None:
    measure(checkout, versions(checkout, "a", "1", 1, 0.9), tmp_path / "before", announce=print)
    broken = versions(checkout, "b", "1", 1, "1 / 0")
    with pytest.raises(StepError, match="ZeroDivisionError"):
        measure(checkout, broken, tmp_path / "after", before=tmp_path / "before", announce=print)
    before, after = (Measured.load(tmp_path / name) for name in ("before", "after"))
    assert "fails with these versions" in render(before, after)
    assert "could not be measured" in render(Measured(), after)
    shutil.copytree(tmp_path / "before" / "metrics", tmp_path / "half" / "metrics")
    assert "could not be measured" in render(Measured.load(tmp_path / "half"), after)


@pytest.mark.parametrize("path", ["installed.json", "details/decisions.json", "details/latency.json"])
def test_results_of_others_lead_nowhere(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "after"
    (folder / "details").mkdir(parents=True)
    bits = base64.b64encode(b"\1").decode()
    decisions = {
        "model_sha256": "a" * 64,
        "holdout_md5": "a" * 32,
        "samples": 8,
        "images": base64.b64encode(bytes(64)).decode(),
        "attributes": {"Smiling": {"truth": bits, "decisions": bits}},
        "slices": {},
    }
    (folder / "installed.json").write_text('{"packages": 1, "bytes": 1, "seconds": 1.0}')
    (folder / "details/decisions.json").write_text(json.dumps(decisions))
    (folder / "details/latency.json").write_text('{"p50_ms": 1.0}')
    assert Measured.load(folder).milliseconds == 1
    secret = tmp_path / "secret"
    (folder / path).rename(secret)
    (folder / path).symlink_to(secret)
    with pytest.raises(GitopsError, match="not a regular file"):
        Measured.load(folder)
    (folder / path).unlink()
    (folder / path).touch()
    with (folder / path).open("r+b") as file:
        file.truncate(20 * 1024**3)
    with pytest.raises(GitopsError, match="larger than"):
        Measured.load(folder)
    (folder / "details").rename(tmp_path / "details")
    (folder / "details").symlink_to(tmp_path / "details")
    with pytest.raises(GitopsError, match="details: a link"):
        Measured.load(folder)
