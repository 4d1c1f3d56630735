"""Records of trainings, with the files of a small run."""

import json
import shutil
import subprocess
from datetime import UTC, datetime

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


@pytest.fixture
def run(tmp_path):
    """A checkout in which the pipeline has run."""
    git(tmp_path, "init", "--quiet")
    for path in record.FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("{}")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / EVALUATION).write_text(json.dumps(evaluation(0.904)))
    (tmp_path / "metrics/training.json").write_text(
        json.dumps({"weights": 577464, "train_images": 37540, "seconds": 600})
    )
    (tmp_path / "metrics/search.json").write_text(json.dumps({"seconds": 330}))
    (tmp_path / "search/best.json").write_text(json.dumps({"width": 16}))
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "Run")
    return tmp_path


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
    assert "| Bald | 98.0 (97.0 to 99.0) | 97.9 | 75.0 | 98.0 |" in page
    assert "2026-03-01-first" in page


def test_code_that_differs_from_its_commit_is_no_record(run):
    (run / "dvc.yaml").write_text("stages: {a: {}}\n")
    with pytest.raises(ValueError, match=r"dvc\.yaml: differs from its commit"):
        record.keep("deeper", run, DAY)
    git(run, "checkout", "--quiet", "dvc.yaml")
    (run / EVALUATION).unlink()
    with pytest.raises(ValueError, match=r"evaluation\.json: no such file; run dvc repro first"):
        record.keep("deeper", run, DAY)
    assert not (run / record.RECORDS).exists()


def test_a_record_is_never_overwritten(run):
    record.keep("deeper", run, DAY)
    with pytest.raises(ValueError, match="this record is there"):
        record.keep("deeper", run, DAY)
