"""Records of trainings, with the files of a small run."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks import record
from face_attributes.common.paths import EVALUATION
from tests.support.checkout import ROOT

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def attribute(accuracy, majority):
    spread = {"accuracy_low": accuracy - 0.01, "accuracy_high": accuracy + 0.01}
    return {"accuracy": accuracy, **spread, "majority_accuracy": majority, "balanced_accuracy": 0.75}


def evaluation(mean):
    return {
        "mean_accuracy": mean,
        "mean_accuracy_low": mean - 0.002,
        "mean_accuracy_high": mean + 0.002,
        "mean_balanced_accuracy": 0.788,
        "mean_roc_auc": 0.93,
        "per_attribute": {"Bald": attribute(0.98, 0.979), "Wearing_Necklace": attribute(0.87, 0.88)},
    }


def git(folder, *arguments):
    identity = ["-c", "user.name=An Engineer", "-c", "user.email=engineer@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def dvc(folder, *arguments):
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A checkout in which a pipeline of one stage has run on photographs."""
    tmp_path = tmp_path_factory.mktemp("pipeline")
    git(tmp_path, "init", "--quiet")
    dvc(tmp_path, "init", "--quiet")
    for path in record.FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("{}")
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(re.sub(r"source: \w+", "source: celeba", text, count=1))
    (tmp_path / "src").mkdir()
    (tmp_path / "src/code.py").write_text("")
    (tmp_path / "dvc.yaml").write_text("stages: {train: {cmd: 'true', deps: [src/code.py]}}\n")
    (tmp_path / EVALUATION).write_text(json.dumps(evaluation(0.904)))
    (tmp_path / "metrics/training.json").write_text(
        json.dumps({"weights": 577464, "train_images": 37540, "seconds": 600})
    )
    (tmp_path / "metrics/search.json").write_text(json.dumps({"seconds": 330}))
    (tmp_path / "search/best.json").write_text(json.dumps({"width": 16}))
    dvc(tmp_path, "repro", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "Run")
    return tmp_path


@pytest.fixture
def run(pipeline, tmp_path):
    return shutil.copytree(pipeline, tmp_path / "run")


def test_a_run_is_kept_with_its_commit_and_its_files(run):
    (run / "repro.log").write_text("all stages\n")
    folder = record.keep("deeper", run, DAY, run / "repro.log")
    assert folder == run / "benchmarks/records/2026-03-01-deeper"
    assert {path.name for path in folder.iterdir()} == {
        *(path.name for path in record.FILES),
        "log.txt",
        "record.json",
    }
    figures = json.loads((folder / "record.json").read_text())
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=run, check=True, capture_output=True, text=True)
    assert figures["commit"] == head.stdout.strip()
    assert figures["minutes"] == 15.5
    assert figures["multiplications"] > 10_000_000


def test_the_leaderboard_has_the_best_first_and_names_what_is_below_its_majority(run):
    record.write(run, record.keep("first", run, DAY))
    (run / EVALUATION).write_text(json.dumps(evaluation(0.911)))
    second = record.keep("second", run, DAY.replace(day=2))
    record.write(run, second)
    rows = [
        line.split(" | ")
        for line in (run / record.RECORDS / "README.md").read_text().splitlines()
        if "[20" in line
    ]
    assert [row[0] for row in rows] == [
        "| [2026-03-02-second](2026-03-02-second/)",
        "| [2026-03-01-first](2026-03-01-first/)",
    ]
    assert rows[0][1:6] == [
        "91.10 (90.90 to 91.30)",
        "78.80",
        "93.00",
        "Wearing_Necklace",
        "0.58 million",
    ]
    page = (second / "attributes.md").read_text()
    assert "| Bald | 98.0 (97.0 to 99.0) | 97.9 | 75.0 | 98.0 | 98 |" in page
    assert "2026-03-01-first" in page


def test_the_published_attributes_have_the_mean_that_their_paper_states():
    assert round(np.mean(list(record.LNETS_ANET.values()))) == 87


def change_code(run):
    (run / "src/code.py").write_text("print()")


def commit_code(run):
    change_code(run)
    git(run, "commit", "--quiet", "--all", "-m", "Change")


def draw_faces(run):
    text = (run / "params.yaml").read_text()
    (run / "params.yaml").write_text(text.replace("source: celeba", "source: synthetic"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (change_code, r"src/code\.py: differs from its commit"),
        (commit_code, r"dvc\.lock: the results are not those of this code"),
        (draw_faces, r"data\.source is synthetic"),
        (lambda run: (run / EVALUATION).unlink(), r"evaluation\.json: no such file; run dvc repro first"),
    ],
)
def test_only_a_run_on_photographs_with_the_code_of_its_commit_is_a_record(run, change, problem):
    change(run)
    with pytest.raises(ValueError, match=problem):
        record.keep("deeper", run, DAY)
    assert not (run / record.RECORDS).exists()


@pytest.mark.parametrize("name", ["../deeper", "a/b", "", "Deeper", "-a", "a\nb"])
def test_a_name_that_is_no_name_is_refused(run, name):
    with pytest.raises(ValueError, match="a name has small letters"):
        record.keep(name, run, DAY)


def test_a_log_that_is_missing_leaves_nothing_half_written(run):
    with pytest.raises(ValueError, match=r"repro\.log: no such file"):
        record.keep("deeper", run, DAY, run / "repro.log")
    assert not (run / record.RECORDS).exists()


def test_a_record_is_never_overwritten(run):
    record.keep("deeper", run, DAY)
    with pytest.raises(ValueError, match="this record is there"):
        record.keep("deeper", run, DAY)
