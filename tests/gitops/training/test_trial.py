import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from gitops.errors import GitopsError, StepError
from gitops.git.repository import Repository
from gitops.training import experiments
from gitops.training.experiments import Experiment, Experiments
from gitops.training.trial import Trial, load_seconds, run

# The real pipeline takes a minute at its smallest; this one has its shape.
STAGE = """import json, sys
from pathlib import Path

accuracy = float(Path("data/accuracy").read_text())
if accuracy < 0:
    sys.exit("no such accuracy")
accuracy += float(Path("params.yaml").read_text().rpartition("gain:")[2] or 0)
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
PROFILE = """import sys
from pathlib import Path

if sys.argv[-1] == "small":
    Path("params.yaml").write_text("profile: small\\ntrain:\\n  gain: 0\\n")
else:
    overlay = Path(f"params.{sys.argv[-1]}.yaml")
    assert not overlay.is_symlink()
    Path("params.yaml").write_text("profile: small\\n" + overlay.read_text())
"""
DVC = """stages:
  all:
    cmd: python stage.py
    params: [profile, train]
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
        "params.yaml": b"profile: full\ntrain:\n  gain: 0\n",
        "params.small.yaml": b"profile: small\n",
        "stage.py": STAGE.encode(),
        "dvc.yaml": DVC.encode(),
        "data/accuracy": b"0.5",
        # Only so much of it as a trial calls.
        "src/face_attributes/__init__.py": b"",
        "src/face_attributes/__main__.py": PROFILE.encode(),
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


def test_each_combination_of_the_matrix_is_run_once(
    checkout: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    base, out = checkout.resolve("main"), tmp_path / "out"
    matrix = b"matrix:\n  train.gain: [0.125, -1]\n  train.a: [x]\n"
    head = checkout.commit_files(base, {"experiments.yaml": matrix}, "Ask")
    # A link in the place of the file with the parameters: what it leads to stays as it is
    blob = checkout.git("hash-object", "-w", "--stdin", input="stage.py")
    tree = checkout.git("ls-tree", head) + f"\n120000 blob {blob}\tparams.experiments.yaml\n"
    head = checkout.commit_tree(checkout.git("mktree", input=tree), [base], "Link")
    run(checkout, head, base, out)
    trial = Trial.load(out)
    assert [one.values for one, _ in trial.experiments] == [
        {"train.gain": "0.125", "train.a": "x"},
        {"train.gain": "-1", "train.a": "x"},
    ]
    assert [metrics.means["mean_accuracy"].value for _, metrics in trial.experiments[:1]] == [0.625]
    assert "mean_accuracy" not in trial.experiments[1][1].means  # an accuracy of -0.5 is none
    assert caplog.text.count("ran 0.5") == 1
    # The next push changes something else: nothing is run again. Once merged, the matrix is no news.
    more = checkout.commit_files(head, {"README.md": b"words"}, "Write")
    run(checkout, more, base, out)
    assert len(Trial.load(out).experiments) == 2
    assert caplog.text.count("ran 0.625") == 1
    run(checkout, more, head, out)
    assert Trial.load(out).experiments == ()


def test_a_stage_may_read_what_dvc_linked_from_the_cache(checkout: Repository, tmp_path: Path) -> None:
    more = b"  last:\n    cmd: cat model > copy\n    deps: [model]\n    outs: [copy]\n"
    head = checkout.commit_files(checkout.resolve("main"), {"dvc.yaml": DVC.encode() + more}, "Go on")
    run(checkout, head, None, tmp_path / "out")
    assert Trial.load(tmp_path / "out").head


def test_an_experiment_that_fails_is_in_the_list(checkout: Repository, tmp_path: Path) -> None:
    files = {"experiments.yaml": b"matrix: {train.gain: [x, 0.25]}\n"}
    head = checkout.commit_files(checkout.resolve("main"), files, "Ask")
    run(checkout, head, None, tmp_path / "out")
    [(failed, nothing), (passed, metrics)] = Trial.load(tmp_path / "out").experiments
    assert "could not convert string to float" in failed.problem
    assert not nothing
    assert (passed.problem, metrics.means["mean_accuracy"].value) == ("", 0.75)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "must hold sections"),
        (b"matrix: {}", "matrix: Dictionary should have at least 1 item"),
        (b"matrix: {train.epochs: []}", "matrix.train.epochs"),
        (b"matrix: {train.epochs: 3}", "matrix.train.epochs"),
        (b"matrix: {train.epochs: [[3]]}", "matrix.train.epochs"),
        (b"matrix: {train.epochs: [.nan]}", "matrix.train.epochs"),
        (b"matrix: {../x: [3]}", "matrix"),
        (b"matrix: {train: [3], train.epochs: [3]}", "train and train.epochs"),
        (b"matrix: {a: [1, 2, 3], b: [1, 2, 3]}", "has 9 combinations"),
        (b"matrix: {a: [1]}\nmore: 1", "more: Extra inputs"),
        (b"matrix: {a: [1], a: [2]}", "a"),
        (b"\xff", "not UTF-8"),
        (b"x" * 200_000, "larger than"),
    ],
)
def test_a_matrix_that_cannot_be_read_is_refused_on_one_line(content: bytes, problem: str) -> None:
    with pytest.raises(GitopsError) as refused:
        Experiments.parse(content)
    text = str(refused.value)
    assert text.startswith("experiments.yaml: ")
    assert problem in text
    assert "\n" not in text
    assert len(text) < 400


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
    experiments.write(folder, [Experiment(values={})])
    (folder / "experiments").mkdir()
    (folder / "experiments/0").symlink_to(outside)
    with pytest.raises(GitopsError, match="experiments/0: leads out of"):
        Trial.load(folder)
    (folder / "experiments.json").write_text("{}")
    with pytest.raises(GitopsError, match="not a list of experiments"):
        Trial.load(folder)
    (folder / "experiments.json").unlink()
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
