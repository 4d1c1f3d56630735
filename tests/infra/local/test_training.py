import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gitops.airflow import training_runs
from infra.local.errors import EngineError
from infra.local.layout import EnvironmentPaths, Layout
from infra.local.screen import Screen
from infra.local.training import DAG, Training
from tests.support.fake_pipeline import FakePipeline, task


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePipeline]:
    monkeypatch.setattr(training_runs, "PAUSE", 0.01)
    monkeypatch.setattr(training_runs, "SCHEDULE_DELAY", 0)
    fake = FakePipeline()
    yield fake
    fake.close()


@pytest.fixture
def paths(tmp_path: Path) -> EnvironmentPaths:
    return Layout(tmp_path).paths_of("dev")


def follow(
    pipeline: FakePipeline, paths: EnvironmentPaths, *, active: bool = False, seconds: float = 60
) -> str:
    """Start or find a run, follow it, and return what the user read."""
    output = io.StringIO()
    found = Training(pipeline.access, paths, active=active)
    with Screen(Console(file=output, width=100)).step("Train") as step:
        run = found.in_flight()
        found.follow(run.id if run else found.start(), step, seconds=seconds)
    return output.getvalue()


def test_a_run_is_started_and_followed_and_the_pipeline_paused_again(
    pipeline: FakePipeline, paths: EnvironmentPaths
) -> None:
    pipeline.tasks = [task("collect", "success", seconds=61), task("tune", None)]
    output = follow(pipeline, paths)
    assert "✓ collect: success  (1 min 01 s)" in output
    assert pipeline.paused
    assert list(pipeline.runs) == ["manual__0+00:00"]
    assert not (paths.root / "training.json").exists()


def test_the_run_that_the_schedule_adds_is_followed_instead_of_a_second(
    pipeline: FakePipeline, paths: EnvironmentPaths
) -> None:
    pipeline.schedule_adds = "scheduled__1"
    follow(pipeline, paths)
    assert list(pipeline.runs) == ["scheduled__1"]


def test_a_run_in_flight_is_followed(pipeline: FakePipeline, paths: EnvironmentPaths) -> None:
    pipeline.runs = {"manual__before": ["success"], "manual__now": ["running", "running", "success"]}
    follow(pipeline, paths)
    assert list(pipeline.runs) == ["manual__before", "manual__now"]
    assert not [asked for asked in pipeline.asked if asked.startswith("POST")]


def test_what_the_schedule_adds_while_a_run_is_followed_is_withdrawn(
    pipeline: FakePipeline, paths: EnvironmentPaths
) -> None:
    pipeline.runs = {"manual__now": ["running", "success"]}
    pipeline.schedule_adds = "scheduled__1"
    follow(pipeline, paths)
    assert list(pipeline.runs) == ["manual__now"]


def test_a_pipeline_that_may_start_by_itself_is_left_alone(
    pipeline: FakePipeline, paths: EnvironmentPaths
) -> None:
    pipeline.runs = {"manual__now": ["running", "success"]}
    pipeline.schedule_adds = "scheduled__1"
    follow(pipeline, paths, active=True)
    assert not pipeline.paused
    assert "scheduled__1" in pipeline.runs


def test_a_failed_run_names_task_log_and_last_lines(pipeline: FakePipeline, paths: EnvironmentPaths) -> None:
    pipeline.states = ["running", "failed"]
    pipeline.tasks = [
        task("collect", "success", seconds=1),
        task("model_training.train", "failed", attempt=3, seconds=5),
        task("export", "upstream_failed"),
    ]
    log = (
        paths.airflow / f"logs/dag_id={DAG}/run_id=manual__0+00:00/task_id=model_training.train/attempt=3.log"
    )
    log.parent.mkdir(parents=True)
    entries = [
        {"event": "::group::Pre Execute"},
        {"event": "train: loss is not a number"},
        {"event": "Task failed", "error_detail": [{"exc_type": "StepError", "exc_value": "exit status 1"}]},
    ]
    log.write_text("\n".join(map(json.dumps, entries)) + "\nnot JSON\n")
    with pytest.raises(EngineError) as caught:
        follow(pipeline, paths)
    lines = str(caught.value).splitlines()
    assert "failed in model_training.train (attempt 3)" in lines[0]
    assert str(log) in lines[0]
    assert lines[1:] == [
        "    train: loss is not a number",
        "    Task failed",
        "    StepError: exit status 1",
        "    not JSON",
    ]
    assert pipeline.paused


def test_a_run_that_takes_too_long_goes_on(pipeline: FakePipeline, paths: EnvironmentPaths) -> None:
    pipeline.states = ["running"]
    with pytest.raises(EngineError, match="is still running after 0 s, and continues; make up follows it"):
        follow(pipeline, paths, seconds=0)
    assert not pipeline.paused
    assert (paths.root / "training.json").exists()


def test_what_an_interrupted_command_let_start_is_paused_again(
    pipeline: FakePipeline, paths: EnvironmentPaths
) -> None:
    paths.root.mkdir(parents=True)
    (paths.root / "training.json").write_text("{}")
    pipeline.paused = False
    found = Training(pipeline.access, paths, active=False)
    found.settle()
    assert pipeline.paused
    pipeline.paused = False
    found.settle()
    assert not pipeline.paused, "what a person lets start stays so"


def test_a_pipeline_that_does_not_load_is_named(pipeline: FakePipeline, paths: EnvironmentPaths) -> None:
    pipeline.known = False
    pipeline.import_errors = {"ml_pipeline_dag.py": "Traceback\nImportError: no torch\n"}
    found = Training(pipeline.access, paths, active=False)
    with pytest.raises(EngineError, match=r"dev: ml_pipeline_dag\.py does not load: ImportError: no torch"):
        found.await_dag(seconds=0)
    pipeline.import_errors = {}
    with pytest.raises(EngineError, match=f"dev: has no DAG {DAG} after 0 s"):
        found.await_dag(seconds=0)


def test_a_run_whose_airflow_ended_is_not_followed_for_ever(
    pipeline: FakePipeline, paths: EnvironmentPaths
) -> None:
    def require() -> None:
        raise EngineError("dev: scheduler ended")

    found = Training(pipeline.access, paths, active=False, require=require)
    with (
        pytest.raises(EngineError, match="dev: scheduler ended"),
        Screen(Console(file=io.StringIO())).step("Train") as step,
    ):
        found.follow("manual__0", step, seconds=60)


def test_an_attempt_after_another_is_told(pipeline: FakePipeline, paths: EnvironmentPaths) -> None:
    pipeline.tasks = [task("tune", "success", attempt=2, seconds=3)]
    assert "✓ tune: success, attempt 2  (3 s)" in follow(pipeline, paths)
