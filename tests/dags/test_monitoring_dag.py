"""The DAG as an environment runs it: a release in git and DVC, scores in its data folder, and an Airflow."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG = "model_monitoring_and_retraining"
TRAINING = "ml_pipeline_face_attributes"
MODEL = b"not quite ONNX: monitoring asks for its digest alone"
DIGEST = hashlib.sha256(MODEL).hexdigest()
ATTRIBUTES = ("Smiling", "Male")
STATISTICS = ("brightness", "contrast", "saturation", "warmth", "sharpness", "noise")

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def rows(count: int, *, seed: int, light: float = 1.0, unsure: bool = False) -> dict[str, np.ndarray]:
    """What a model says of faces, more or less."""
    random = np.random.default_rng(seed)
    shape = (3, 4) if unsure else (0.3, 0.5)
    scores = {f"{name}_score": random.beta(*shape, count).astype(np.float32) for name in ATTRIBUTES}
    decisions = {name: scores[f"{name}_score"] >= 0.5 for name in ATTRIBUTES}
    statistics = {name: random.normal(100 * light, 10, count).astype(np.float32) for name in STATISTICS}
    return decisions | scores | statistics


@dataclass(frozen=True)
class Environment:
    """An environment whose Airflow is at rest."""

    checkout: Path
    home: Path
    variables: dict[str, str]

    def call(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            command,
            cwd=self.checkout,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout[-6000:]
        return done.stdout

    def score(
        self,
        batch: str,
        count: int,
        *,
        wrong: int | None = None,
        light: float = 1.0,
        ago: int = 0,
        unsure: bool = False,
    ) -> None:
        """Leave the scores of a batch, and its labels where `wrong` says how many of them belie it."""
        columns = rows(count, seed=len(batch) + 10, light=light, unsure=unsure)
        names = [f"{index:04d}.jpg" for index in range(count)]
        day = datetime.now(UTC).date() - timedelta(days=ago)
        file = self.home / f"scores/date={day}/{batch}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": names, **columns, "model_sha256": [DIGEST] * count}), file)
        if wrong is not None:
            lines = ["image_id," + ",".join(ATTRIBUTES)]
            for index, name in enumerate(names):
                truths = [bool(columns[attribute][index]) != (index < wrong) for attribute in ATTRIBUTES]
                lines.append(",".join([name, *("1" if truth else "-1" for truth in truths)]))
            (self.home / "labels").mkdir(exist_ok=True)
            (self.home / f"labels/{batch}.csv").write_text("\n".join(lines) + "\n")
            (self.home / f"scored/{batch}").mkdir(parents=True, exist_ok=True)
            for name in names:
                (self.home / f"scored/{batch}/{name}").write_bytes(f"{batch}/{name}".encode())

    def monitor(self, conf: dict[str, Any] | None = None) -> str:
        command = ["airflow", "dags", "test", DAG]
        return self.call(*command, *(["--conf", json.dumps(conf)] if conf else []))

    def ask(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(Path(self.variables["AIRFLOW_HOME"]) / "airflow.db") as database:
            return database.execute(query, values).fetchall()

    def states(self) -> dict[str, str]:
        """The tasks of the last run of monitoring, and how they ended."""
        query = "select task_id, state from task_instance where run_id = (%s)"
        last = "select run_id from dag_run where dag_id = ? order by id desc limit 1"
        return dict(self.ask(query % last, DAG))

    def trainings(self) -> list[tuple[str, dict[str, Any]]]:
        """The runs of the training pipeline that wait, and with what."""
        query = "select run_id, conf from dag_run where dag_id = ? and state = 'queued'"
        found = self.ask(query, TRAINING)
        return [(run, json.loads(conf)) for run, conf in found]

    def decisions(self) -> list[dict[str, Any]]:
        text = (self.home / "monitoring/decisions.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a release in `checkout`, its origin, a DVC remote and an empty Airflow; its variables."""
    folder = tmp_path_factory.mktemp("release")
    checkout = folder / "checkout"
    for name in ("dags", "src", ".dvc", ".dvcignore", ".gitignore", "params.yaml"):
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
        (shutil.copytree if source.is_dir() else shutil.copy)(
            source, checkout / name, **({"ignore": ignored} if source.is_dir() else {})
        )
    made = folder / "made"
    made.mkdir()
    (made / "model.onnx").write_bytes(MODEL)
    ids = [f"{index}.jpg" for index in range(400)]
    known = pa.table({"id": ids, "partition": ["validation"] * 400, **rows(400, seed=1)})
    pq.write_table(known.replace_schema_metadata({"model_sha256": DIGEST}), made / "reference.parquet")
    outputs = {"export": "models/model.onnx", "reference": "data/reference.parquet"}
    stages = {
        stage: {"cmd": f"cp {made / Path(path).name} {path}", "outs": [path]}
        for stage, path in outputs.items()
    }
    (checkout / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    for name in ("models", "data", "metrics"):
        (checkout / name).mkdir()
    figures = {
        "profile": "full",
        "mean_accuracy": 0.9,
        "mean_accuracy_low": 0.89,
        "mean_accuracy_high": 0.91,
        "majority_accuracy": 0.8,
        "model_sha256": DIGEST,
        "samples": 400,
    }
    (checkout / "metrics/evaluation.json").write_text(json.dumps(figures))

    (folder / "dvc").mkdir()
    (folder / "remote").mkdir()
    (folder / "dvc/config").write_text(
        f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {folder / 'remote'}\n"
    )
    foreign = ("ACTIVE_DAGS", "AIRFLOW", "DVC_", "GIT_", "GITOPS_", "VISAGE_", "XDG_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    dags = {
        "name": "release",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(checkout / "dags")},
    }
    variables = inherited | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_FS_DEFAULT": "fs://",
        "AIRFLOW_CONN_GIT_DEFAULT": json.dumps({"conn_type": "git", "host": str(folder / "origin.git")}),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([dags]),
        "DVC_GLOBAL_CONFIG_DIR": str(folder / "dvc"),
        "DVC_SITE_CACHE_DIR": str(folder / "dvc-site-cache"),
        "DVC_NO_ANALYTICS": "1",
        "ACCURACY_THRESHOLD": "0.85",
        "VISAGE_ENVIRONMENT": "staging",
    }
    made_ready = Environment(checkout, folder / "none", variables)
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    made_ready.call("git", "init", "--quiet", "--initial-branch=main")
    made_ready.call("dvc", "repro", "--quiet")
    made_ready.call("dvc", "push", "--quiet")
    made_ready.call("git", "add", "--all")
    made_ready.call("git", *identity, "commit", "--quiet", "--message", "Release")
    made_ready.call("git", "clone", "--quiet", "--bare", str(checkout), str(folder / "origin.git"))
    made_ready.call("airflow", "db", "migrate")
    made_ready.call("airflow", "dags", "reserialize")
    return folder, variables


@pytest.fixture
def environment(release: tuple[Path, dict[str, str]], tmp_path: Path) -> Environment:
    """An environment of its own for each test, with a copy of the empty Airflow."""
    folder, variables = release
    (tmp_path / "airflow").mkdir()
    # Without its configuration, which names the database by its full path
    shutil.copy(folder / "airflow/airflow.db", tmp_path / "airflow")
    home = tmp_path / "data"
    home.mkdir()
    own = {"AIRFLOW_HOME": str(tmp_path / "airflow"), "VISAGE_HOME": str(home)}
    return Environment(folder / "checkout", home, variables | own)


def test_drift_asks_for_labels_and_then_leads_to_one_training(environment: Environment) -> None:
    environment.score("monday", 300, light=0.6, ago=1, unsure=True)
    environment.score("tuesday-", 300, light=0.6, unsure=True)
    said = environment.monitor()
    assert environment.states()["skip_retraining"] == "success"
    (line,) = environment.decisions()
    assert (line["decision"], line["batches"], environment.trainings()) == ("skip", [], [])
    reasons = line["reasons"]
    assert reasons[0].startswith("Drift: 8 of 10 columns moved in 600 images in 2 windows")
    assert "images changed and answers shifted; probably a loss of accuracy" in reasons[0]
    assert reasons[-1] == "No training: no labelled batch waits that the release has not learned"
    assert "drift; no retraining" in said
    assert "Only labels show the accuracy: label 100 to 200 images of " in said
    assert str(environment.checkout / "docs/runbooks/drift.md") in said
    assert set(line["drift"]["columns"]) >= set(STATISTICS)
    assert line["drift"]["columns"]["brightness"]["p_value"] < 0.001
    assert line["performance"]["enough_labels"] is False
    today = datetime.now(UTC).date()
    window = (line["drift"]["since"], line["drift"]["until"])
    assert window == ((today - timedelta(days=27)).isoformat(), today.isoformat())
    assert [one["rows"] for one in line["drift"]["windows"]] == [300, 300]
    assert (line["alarm"], line["episodes"]["drift"]["state"]) == (["drift"], "begins")
    evidence = environment.home / line["evidence"]
    assert {path.name for path in evidence.iterdir()} == {"drift.html", "drift.json", "performance.json"}

    environment.score("monday", 300, light=0.6, ago=1, unsure=True, wrong=20)
    said = environment.monitor({"profile": "small"})
    assert environment.states() == {
        "check_data_drift": "success",
        "check_performance": "success",
        "decide": "success",
        "trigger_retraining": "success",
        "skip_retraining": "skipped",
        "log_monitoring_results": "success",
        "send_notification": "success",
    }
    labelled = environment.decisions()[1]
    ((training, conf),) = environment.trainings()
    assert conf == {"profile": "small"}
    assert training == labelled["triggered"] == f"monitoring__{labelled['run_id']}"
    assert (labelled["decision"], labelled["environment"], labelled["profile"]) == (
        *("retrain", "staging"),
        "small",
    )
    assert labelled["batches"] == [f"staging-{today}"]
    assert labelled["release"] == environment.call("git", "rev-parse", "HEAD").strip()
    assert labelled["model_sha256"] == DIGEST
    assert f"drift goes on; a retraining waits, because {TRAINING} is paused" in said

    said = environment.monitor()
    assert "No notice: no alarm begins, clears or leads to a training." in said
    assert environment.states()["trigger_retraining"] == "skipped"
    assert len(environment.trainings()) == 1
    again = environment.decisions()[2]
    assert (again["decision"], again["triggered"]) == ("skip", None)
    assert again["episodes"]["drift"] == {**line["episodes"]["drift"], "state": "goes on"}
    assert again["reasons"][-1] == f"A run of {TRAINING} is queued or running already"

    for day in range(7):
        environment.score(f"calm{'-' * day}", 300, ago=day)
    for file in environment.home.glob("scores/*/*day*.parquet"):
        file.unlink()
    said = environment.monitor()
    assert "drift has cleared, after it began at " in said
    assert environment.decisions()[3]["alarm"] == []


def test_other_light_that_costs_nothing_asks_for_labels_alone(environment: Environment) -> None:
    environment.score("monday", 300, light=0.6, ago=1, wrong=10)
    environment.score("tuesday-", 300, light=0.6)
    said = environment.monitor()
    (line,) = environment.decisions()
    assert (line["decision"], environment.trainings()) == ("skip", [])
    assert "(images changed; probably harmless, " in line["reasons"][0]
    why_not = "No training: the images changed, and the answers of the model did not shift"
    assert line["reasons"][-1] == why_not
    assert line["batches"], "the labels wait for a training that somebody starts"
    assert "Only labels show the accuracy" in said


def test_labels_that_belie_the_model_lead_to_a_training(environment: Environment) -> None:
    environment.score("monday", 300, wrong=100, ago=1)
    environment.score("tuesday", 300)
    said = environment.monitor()
    (line,) = environment.decisions()
    assert line["decision"] == "retrain"
    calm, reason = line["reasons"]
    assert calm == "No drift in 600 images in 2 windows"
    assert reason.startswith("Accuracy 66.67%")
    assert reason.endswith(
        "on 300 late labels is too low: the limit is 85.00%, and the release had 90.00% and may lose 2 points"
    )
    assert line["drift"]["drifted"] is False
    assert environment.trainings() == [(line["triggered"], {"profile": "full"})]
    assert reason in said
    assert "accuracy too low; a retraining waits" in said


def test_when_all_is_well_nothing_is_trained(environment: Environment) -> None:
    environment.score("monday", 300, wrong=10, ago=1)
    environment.score("tuesday", 300)
    environment.monitor()
    assert environment.states() == {
        "check_data_drift": "success",
        "check_performance": "success",
        "decide": "success",
        "trigger_retraining": "skipped",
        "skip_retraining": "success",
        "log_monitoring_results": "success",
        "send_notification": "success",
    }
    (line,) = environment.decisions()
    assert (line["decision"], line["triggered"]) == ("skip", None)
    assert line["reasons"][0] == "No drift in 600 images in 2 windows"
    assert line["performance"]["mean_accuracy"] == pytest.approx(290 / 300, abs=1e-4)
    assert environment.trainings() == []


def test_without_scores_there_is_no_answer_and_no_training(environment: Environment) -> None:
    environment.monitor()
    assert environment.states()["skip_retraining"] == "success"
    (line,) = environment.decisions()
    assert line["decision"] == "skip"
    assert line["drift"]["drifted"] is None
    assert line["reasons"][0].startswith("Not enough data to see drift: 0 images of ")
    assert line["reasons"][1].startswith("Not enough labels to judge accuracy: 0 images of ")


def test_before_the_first_training_there_is_nothing_to_watch(environment: Environment) -> None:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    environment.call("git", "rm", "--quiet", "metrics/evaluation.json")
    environment.call("git", *identity, "commit", "--quiet", "--message", "No model yet")
    origin = json.loads(environment.variables["AIRFLOW_CONN_GIT_DEFAULT"])["host"]
    environment.call("git", "push", "--quiet", origin, "HEAD:refs/heads/early")
    try:
        said = environment.monitor()
    finally:
        environment.call("git", "reset", "--quiet", "--hard", "HEAD~1")
    assert set(environment.states().values()) == {"skipped"}
    assert "metrics/evaluation.json: missing in" in said
    assert not (environment.home / "monitoring/decisions.jsonl").exists()
