import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from gitops.errors import GitopsError, StepError
from gitops.git.repository import Repository
from gitops.training.trial import Trial, load_seconds, run

# The real pipeline takes a minute at its smallest; this one has its shape.
STAGE = """import json, sys
from pathlib import Path

accuracy = float(Path("data/accuracy").read_text())
if accuracy < 0:
    sys.exit("no such accuracy")
print("ran", accuracy)
for folder in ("metrics", "plots"):
    Path(folder).mkdir(exist_ok=True)
profile = Path("params.yaml").read_text().split()[1]
figures = {"profile": profile, "mean_accuracy": accuracy, "majority_accuracy": 0.8, "samples": 9}
Path("metrics/evaluation.json").write_text(json.dumps(figures | {"model_sha256": "a" * 64}))
Path("plots/learning_curve.csv").write_text("epoch,train_loss,validation_loss,validation_accuracy\\n1,1,1,1\\n")
Path("plots/worst_errors.jpg").write_bytes(b"a photograph")
Path("model").write_text("model")
"""
DVC = """stages:
  all:
    cmd: python stage.py
    params: [profile]
    deps: [data/accuracy, stage.py]
    outs:
      - model
      - metrics/evaluation.json: {cache: false}
      - plots/learning_curve.csv: {cache: false}
      - plots/worst_errors.jpg
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "checkout")
    repository.path.mkdir()
    repository.git("init", "--quiet", "--initial-branch=main", "--template=")
    files = {
        ".dvc/config": b"[core]\n    analytics = false\n",
        ".gitignore": b"/.dvc/cache\n/.visage\n/model\n",
        "params.yaml": b"profile: full\n",
        "params.small.yaml": b"profile: small\n",
        "stage.py": STAGE.encode(),
        "dvc.yaml": DVC.encode(),
        "data/accuracy": b"0.5",
        # Only so much of it as a trial calls.
        "src/face_attributes/__init__.py": b"",
        "src/face_attributes/__main__.py": b"open('params.yaml', 'w').write('profile: small\\n')\n",
    }
    commit = repository.commit_files(None, files, "Start")
    repository.git("update-ref", "refs/heads/main", commit)
    repository.git("reset", "--quiet", "--hard")
    return repository


def change(checkout: Repository, accuracy: str) -> str:
    return checkout.commit_files(checkout.resolve("main"), {"data/accuracy": accuracy.encode()}, "Change")


def test_no_other_user_reads_what_a_trial_keeps(checkout: Repository, tmp_path: Path) -> None:
    head = checkout.resolve("main")
    run(checkout, head, None, tmp_path / "out")
    state = checkout.path / ".visage"
    assert [path.stat().st_mode & 0o777 for path in (state, state / "trials")] == [0o700, 0o700]


def test_both_sides_are_tried_and_what_is_known_is_not_run_again(
    checkout: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    base, out, told = checkout.resolve("main"), tmp_path / "out", []
    run(checkout, change(checkout, "0.75"), base, out, announce=told.append)
    trial = Trial.load(out)
    assert (trial.head.means["mean_accuracy"].value, trial.base.means["mean_accuracy"].value) == (0.75, 0.5)
    assert (trial.head.profile, len(trial.head.curve)) == ("small", 1)
    assert set(trial.seconds) == {"pipeline on small data, before", "pipeline on small data, after"}
    assert len(told) == 2
    assert not list(out.rglob("*.jpg"))
    assert caplog.text.count("ran 0.5") == 1
    # The next change starts from the same base, which is known by now.
    run(checkout, change(checkout, "0.8"), base, out)
    assert Trial.load(out).head.means["mean_accuracy"].value == 0.8
    assert caplog.text.count("ran 0.5") == 1
    # So is a head that changes nothing that the pipeline is made from.
    words = checkout.commit_files(checkout.resolve("main"), {"README.md": b"words"}, "Write")
    run(checkout, words, base, out)
    assert Trial.load(out).head == Trial.load(out).base
    assert caplog.text.count("ran 0.5") == 1
    assert len(list((checkout.path / ".visage" / "trials").iterdir())) == 3
    # The code of the release's images is a part of the pipeline.
    drawn = checkout.commit_files(checkout.resolve("main"), {"src/drawn_faces/face.py": b""}, "Draw")
    run(checkout, drawn, base, out)
    assert caplog.text.count("ran 0.5") == 2
    assert checkout.git("status", "--porcelain") == ""
    assert not list((checkout.path / ".visage" / "trial-workspaces").glob("*/"))


def test_a_base_that_does_not_work_is_told_and_left_out(checkout: Repository, tmp_path: Path) -> None:
    broken, out, told = change(checkout, "-1"), tmp_path / "out", []
    repaired = checkout.commit_files(broken, {"data/accuracy": b"0.6"}, "Repair")
    run(checkout, repaired, broken, out, announce=told.append)
    assert any("cannot be tried: dvc repro: exit status 255: no such accuracy" in line for line in told)
    assert not Trial.load(out).base
    assert Trial.load(out).head


def test_a_head_that_does_not_work_fails(checkout: Repository, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(StepError, match="no such accuracy"):
        run(checkout, change(checkout, "-1"), None, out)
    with pytest.raises(GitopsError, match=r"no trial there; make one: \.venv/bin/gitops trial"):
        Trial.load(out)


def test_a_trial_that_takes_too_long_fails(checkout: Repository, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="dvc repro: stopped, it took longer than"):
        run(checkout, checkout.resolve("main"), None, tmp_path / "out", timeout=timedelta(seconds=0.05))


def _downloaded(folder: Path) -> Path:
    """Make the artifact of a trial, as a pull request hands it over: anybody's files."""
    for side in ("head", "base"):
        (folder / side).mkdir(parents=True)
        evaluation = {"profile": "small", "mean_accuracy": 0.5, "samples": 9, "model_sha256": "a" * 64}
        (folder / side / "evaluation.json").write_text(json.dumps(evaluation | {"majority_accuracy": 0.4}))
        (folder / side / "learning_curve.csv").write_text("epoch,train_loss\n1,1\n")
    (folder / "timing.json").write_text('{"head": 1}')
    return folder


def test_an_artifact_leads_to_no_file_of_the_judge(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('epoch,train_loss\n7,1\n{"head": 7}')
    folder = _downloaded(tmp_path / "trial")
    assert Trial.load(folder).head.curve == ((1.0, 1.0, None, None),)
    (folder / "head/learning_curve.csv").unlink()
    (folder / "head/learning_curve.csv").symlink_to(secret)
    loaded = Trial.load(folder).head
    assert loaded.curve == ()
    assert loaded.damaged == {"plots/learning_curve.csv": "not a regular file"}
    outside = tmp_path / "outside"
    (folder / "head/metrics").symlink_to(tmp_path)
    assert "leads out of its folder" in Trial.load(folder).head.damaged["metrics/evaluation.json"]
    (folder / "base").rename(outside)
    (folder / "base").symlink_to(outside)
    with pytest.raises(GitopsError, match="base: leads out of"):
        Trial.load(folder)
    (folder / "base").unlink()
    (folder / "timing.json").unlink()
    (folder / "timing.json").symlink_to(secret)
    with pytest.raises(GitopsError, match=r"timing\.json: not a regular file"):
        Trial.load(folder)


def test_an_artifact_takes_no_memory(tmp_path: Path) -> None:
    """A few kB of a zip file can be gigabytes."""
    folder = _downloaded(tmp_path / "trial")
    for name in ("head/evaluation.json", "head/learning_curve.csv", "timing.json"):
        with (folder / name).open("r+b") as file:
            file.truncate(20 * 1024**3)
    with pytest.raises(GitopsError, match=r"timing\.json: larger than"):
        Trial.load(folder)
    (folder / "timing.json").write_text('{"head": 1}')
    damaged = Trial.load(folder).head.damaged
    assert sorted(damaged) == ["metrics/evaluation.json", "plots/learning_curve.csv"]
    assert all("larger than" in problem for problem in damaged.values())
    os.mkfifo(folder / "base/performance.json")
    assert Trial.load(folder).base.damaged == {"metrics/performance.json": "not a regular file"}


def test_times_that_make_no_sense(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    for content in ("[]", '{"a": "b"}', "{"):
        file.write_text(content)
        with pytest.raises(GitopsError, match="not a JSON object of names to seconds"):
            load_seconds(file)
    file.write_text(json.dumps({"a": 1}))
    assert load_seconds(file) == {"a": 1.0}
