"""`gitops train`, against an Airflow that answers as a real one does."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gitops.airflow import training_runs
from gitops.airflow.training_runs import DAG
from gitops.cli import app
from tests.support.fake_pipeline import FakePipeline, task
from tests.support.figures import model_files
from tests.support.lab import Lab

Train = Callable[..., Result]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePipeline]:
    monkeypatch.setattr(training_runs, "PAUSE", 0.01)
    monkeypatch.setattr(training_runs, "SCHEDULE_DELAY", 0.05)
    fake = FakePipeline()
    yield fake
    fake.close()


@pytest.fixture
def train(lab: Lab, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Train:
    lab.branch("narrower", {"params.yaml": b"profile: full\n"})
    access = tmp_path / "access.json"
    known = pipeline.access
    who = {"username": known.username, "password": known.password.get_secret_value()}
    access.write_text(json.dumps({"dev": {"url": known.url, "web": "http://localhost:8080", **who}}))
    monkeypatch.setenv("GITOPS_ACCESS", str(access))
    monkeypatch.chdir(lab.clone.path)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, ["train", *arguments])


def test_a_branch_is_trained_and_its_candidate_is_named(
    lab: Lab, pipeline: FakePipeline, train: Train
) -> None:
    pipeline.tasks = [task("tune", "success", seconds=61), task("gates", None)]
    pipeline.at_end = lambda: lab.branch("candidate/manual__0Z", model_files("a"))
    result = train("narrower", "--wait")
    assert result.exit_code == 0, result.output
    assert pipeline.confs == {"manual__0+00:00": {"ref": "narrower", "profile": "full"}}
    lines = result.output.splitlines()
    assert f"{DAG} is paused in dev: unpaused for this run, and paused again at its end" in lines
    assert "✓ tune: success  (1 min 01 s)" in lines
    assert f"{DAG} is paused again" in lines
    assert lines[-4:] == [
        "  Change",
        "Next:",
        "  .venv/bin/gitops check --head candidate/manual__0Z",
        "  .venv/bin/gitops merge candidate/manual__0Z",
    ]
    assert pipeline.paused


def test_what_another_main_was_trained_with_is_trained_on_main_as_it_is_now(
    lab: Lab, pipeline: FakePipeline, train: Train
) -> None:
    release = lab.train("a")
    lab.branch("candidate/b", model_files("b") | {"data/labelled/late.dvc": b"outs: []\n"}, on=release)
    lab.train("c")
    result = train("candidate/b", "--on-main", "--wait")
    assert result.exit_code == 0, result.output
    assert "Pushed: retrain/candidate-b on origin" in result.output
    assert next(iter(pipeline.confs.values()))["ref"] == "retrain/candidate-b"
    assert lab.origin.changed(lab.tip, lab.origin.resolve("retrain/candidate-b")) == [
        "data/labelled/late.dvc"
    ]
    before = lab.origin.resolve("retrain/candidate-b")
    assert train("candidate/b", "--on-main", "--wait").exit_code == 0
    assert lab.origin.resolve("retrain/candidate-b") == before, "the same run is found again"


def test_a_run_that_makes_nothing_new_is_no_error(pipeline: FakePipeline, train: Train) -> None:
    result = train("narrower", "--wait")
    assert result.exit_code == 0
    assert (
        "Nothing new: narrower or main already has the model, metrics and data that the run made."
        in result.output
    )


def test_a_small_run_is_never_proposed(pipeline: FakePipeline, train: Train) -> None:
    result = train("narrower", "--wait", "--profile", "small")
    assert result.exit_code == 0
    assert next(iter(pipeline.confs.values())) == {"ref": "narrower", "profile": "small"}
    assert result.output.splitlines()[-1] == "  .venv/bin/gitops train narrower --wait"


def test_without_wait_a_paused_pipeline_is_left_alone(pipeline: FakePipeline, train: Train) -> None:
    result = train("narrower")
    assert result.exit_code == 1
    assert "is paused in dev, and a run of a paused DAG does not start. Add --wait" in result.stderr
    assert (pipeline.runs, pipeline.asked) == ({}, [])


def test_without_wait_a_run_is_started_and_can_be_followed(pipeline: FakePipeline, train: Train) -> None:
    pipeline.paused = False
    result = train("narrower")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "Follow it: .venv/bin/gitops train narrower --wait"
    followed = train("narrower", "--wait")
    assert followed.output.startswith("Found manual__0+00:00")
    assert list(pipeline.runs) == ["manual__0+00:00"]
    assert not pipeline.paused, "somebody else has unpaused it"


def test_a_run_that_a_command_had_unpaused_for_is_paused_after_by_the_next(
    pipeline: FakePipeline, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_runs, "follow", interrupt)
        interrupted = train("narrower", "--wait")
    assert interrupted.exit_code == 130
    assert "Interrupted. The run goes on." in interrupted.stderr
    assert not pipeline.paused
    assert train("narrower", "--wait").exit_code == 0
    assert pipeline.paused
    assert list(pipeline.runs) == ["manual__0+00:00"]


def test_a_run_of_an_earlier_push_is_not_taken_for_this_one(
    lab: Lab, pipeline: FakePipeline, train: Train
) -> None:
    pipeline.paused = False
    train("narrower")
    pipeline.results["manual__0+00:00"] = "f" * 40
    assert train("narrower").output.startswith("Started manual__1+00:00")
    pipeline.results["manual__1+00:00"] = lab.origin.resolve("narrower")
    assert train("narrower").output.startswith("Found manual__1+00:00")


def test_what_the_schedule_adds_does_not_go_first(pipeline: FakePipeline, train: Train) -> None:
    pipeline.schedule_adds = "scheduled__1"
    result = train("narrower", "--wait")
    assert result.exit_code == 0
    assert "Ended scheduled__1, the daily training of main that unpausing had started" in result.output


def test_gates_that_refuse_the_model_are_shown(pipeline: FakePipeline, train: Train) -> None:
    pipeline.states = ["running", "failed"]
    pipeline.tasks = [task("model_evaluation.gates", "failed", seconds=3)]
    reason = {"exc_type": "AirflowFailException", "exc_value": "abc is not proposed: mean accuracy: 0.5"}
    pipeline.log = [
        {"event": "::group::x"},
        {"event": "| mean accuracy | 0.5 |"},
        {"event": "Task failed", "error_detail": [reason]},
        {"event": "Sending notice"},
    ]
    result = train("narrower", "--wait")
    assert result.exit_code == 1
    assert "The gates refused the model: abc is not proposed: mean accuracy: 0.5; compare: " in result.stderr
    assert ".venv/bin/gitops report --head run/manual__0Z" in result.stderr
    assert (
        f"http://localhost:8080/dags/{DAG}/runs/manual__0+00:00/tasks/model_evaluation.gates" in result.stderr
    )
    assert "    | mean accuracy | 0.5 |" in result.stderr
    assert pipeline.paused


def test_a_task_that_fails_is_named_with_its_reason(pipeline: FakePipeline, train: Train) -> None:
    pipeline.states = ["running", "failed"]
    pipeline.tasks = [task("train", "failed", seconds=3)]
    reason = {"exc_type": "StepError", "exc_value": "no space left"}
    pipeline.log = [{"event": "x", "error_detail": [reason]}]
    result = train("narrower", "--wait")
    assert (result.exit_code, "failed in train: StepError: no space left; its log: " in result.stderr) == (
        1,
        True,
    )


def test_a_run_that_takes_too_long_goes_on(pipeline: FakePipeline, train: Train, monkeypatch: Any) -> None:
    monkeypatch.setattr(training_runs, "follow", lambda *_, **__: None)
    result = train("narrower", "--wait", "--minutes", "1")
    assert result.exit_code == 1
    assert "is not over after 1 minutes, and goes on: .venv/bin/gitops train narrower --wait" in result.stderr
    assert not pipeline.paused


def test_what_cannot_be_trained_starts_nothing(lab: Lab, pipeline: FakePipeline, train: Train) -> None:
    missing = train("narower")
    assert "narower: no such branch on origin; push it first\n" in missing.stderr
    lab.branch("broken", {"dvc.yaml": b"stages: ["})
    broken = train("broken", "--wait")
    assert broken.stderr.startswith("Cannot train broken: unable to read: 'dvc.yaml'")
    lab.clone.git("fetch", "--quiet", "origin")
    lab.clone.git("switch", "--quiet", "narrower")
    lab.clone.git("commit", "--quiet", "--allow-empty", "-m", "Mine", env=lab.clone.identity())
    unpushed = train("narrower", "--wait")
    assert "is not on origin; push it first\n" in unpushed.stderr
    assert missing.stderr.endswith("\nNext: git push origin narower\n")
    assert unpushed.stderr.endswith("\nNext: git push origin narrower\n")
    assert {missing.exit_code, broken.exit_code, unpushed.exit_code} == {1}
    assert pipeline.asked == []


def test_where_nothing_is_up_that_is_told(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITOPS_ACCESS", str(tmp_path / "none.json"))
    result = train("narrower", "--wait")
    assert result.exit_code == 1
    assert "none.json: names no Airflow of dev\n" in result.stderr
    assert result.stderr.endswith("Next: make up\n")


def test_a_dag_that_does_not_load_is_named(pipeline: FakePipeline, train: Train) -> None:
    pipeline.known = False
    pipeline.import_errors = {"ml_pipeline_dag.py": "Traceback\nImportError: no torch\n"}
    result = train("narrower", "--wait")
    assert f"dev has no DAG {DAG}" in result.stderr
    assert "ml_pipeline_dag.py: ImportError: no torch" in result.stderr


def test_a_long_task_is_told_of_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    progress = training_runs.Progress(said.append)
    running = training_runs.Task("tune", -1, "running", 125.0, 1)
    progress([running])
    progress([running])
    monkeypatch.setattr(training_runs, "HEARTBEAT", -1)
    progress([running])
    assert said == ["▶ tune: running", "… tune: running for 2 min 05 s"]
