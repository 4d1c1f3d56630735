"""What may go wrong during a training run, done to one real Airflow with the real pipeline.

The tests build on one another: each leaves the environment well, and with what its run has made.
"""

from collections.abc import Iterator
from datetime import timedelta

import psutil
import pytest

from gitops.training.candidate import candidate_branch, run_branch
from infra.local.training import DAG
from tests.faults.airflow import Environment, environment, params
from tests.support.waiting import alive, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with environment(tmp_path_factory.mktemp("dev")) as made:
        yield made


def test_a_training_task_that_is_killed_is_tried_again(dev: Environment) -> None:
    main = dev.origin.resolve("main")
    batch = dev.home / "labelled" / "late"
    batch.mkdir(parents=True)
    (batch / "list_attr_celeba.txt").write_text("late labels")
    with dev.held():
        run = dev.trigger()
        training = psutil.Process(dev.await_training(run))
        repro = next(parent for parent in training.parents() if "repro" in " ".join(parent.cmdline()))
        repro.parent().kill()
        dev.await_training(run)
        assert not alive(training), "two trainings at once would take each other's time"
    dev.succeed(run)
    assert dev.attempts(run)["model_training.train"] == 2
    assert sum(attempt > 1 for attempt in dev.attempts(run).values()) == 1

    candidate = candidate_branch(run)
    assert dev.origin.resolve(f"{candidate}^") == main
    assert dev.origin.tree_id(candidate, "data/labelled/late.parquet.dvc"), "the batch came with it"
    assert "1 file pushed" in dev.log(run, "data_preparation.append_labelled")
    # What it measured is found by its id
    archived = dev.home / "runs" / run
    assert (archived / "commit").read_text().strip() == dev.origin.resolve(run_branch(run))
    assert (archived / "metrics/evaluation.json").read_bytes() == dev.origin.read(
        candidate, "metrics/evaluation.json"
    )
    assert (archived / "plots/worst.jpg").is_file()
    # The task evaluate wrote the model card, too
    assert b"\n  card:\n" in (dev.origin.read(candidate, "dvc.lock") or b"")
    assert [tag.commit for tag in dev.origin.tags("archive")] == [dev.origin.resolve(run_branch(run))]
    dev.assert_undamaged()


def test_a_run_whose_results_main_has_proposes_nothing(dev: Environment) -> None:
    [candidate] = dev.origin.git("for-each-ref", "--format=%(objectname)", "refs/heads/candidate").split()
    dev.move_main(candidate)
    run = dev.trigger()
    dev.succeed(run)
    assert not dev.origin.has(candidate_branch(run))
    skipped = "late: skipped, as the commit that is trained from has it, or main."
    assert skipped in dev.log(run, "data_preparation.append_labelled")
    assert f"({candidate}): nothing to propose" in dev.log(run, "propose_candidate")
    assert "there is nothing to propose" in dev.log(run, "notify_success")
    assert (dev.home / "runs" / run / "metrics/evaluation.json").is_file()
    dev.assert_undamaged()


def test_a_run_outlives_its_scheduler(dev: Environment) -> None:
    dev.land(params_yaml=params(1))
    with dev.held():
        run = dev.trigger()
        training = psutil.Process(dev.await_training(run))
        scheduler = dev.instance.alive()["scheduler"]
        scheduler.kill()
        wait_for(lambda: dev.instance.alive().get("scheduler", scheduler) != scheduler)  # By supervisord
        dev.await_training(run)
        assert not alive(training), "two trainings at once would take each other's time"
    dev.succeed(run)
    assert dev.origin.has(candidate_branch(run))
    dev.assert_undamaged()


def test_two_runs_wait_for_each_other_and_each_ends_with_the_release_it_began_with(dev: Environment) -> None:
    before = dev.land(params_yaml=params(2))
    with dev.held():
        first = dev.trigger()
        second = dev.trigger()
        dev.await_training(first)
        assert dev.airflow.run("ml_pipeline_face_attributes", second).state == "queued"
        after = dev.land(params_yaml=params(3))
    assert dev.succeed(first).bundle_version == before
    assert dev.origin.resolve(f"{candidate_branch(first)}^") == before
    dev.succeed(second)
    # It is asked for the main that it finds when it starts
    assert dev.origin.resolve(f"{candidate_branch(second)}^") == after
    dev.assert_undamaged()


def test_a_model_that_fails_a_gate_is_archived_and_not_proposed(dev: Environment) -> None:
    dev.land(params_yaml=params(4, accuracy=0.8))
    run = dev.trigger()
    assert dev.finish(run).state == "failed"
    assert dev.attempts(run)["model_evaluation.gates"] == 1
    log = dev.log(run, "model_evaluation.gates")
    assert "| **mean accuracy** | **0.8000** | **at least 0.8500** |" in log
    assert "is not proposed: mean accuracy: 0.8000, at least 0.8500 is asked for" in log
    assert dev.states(run)["propose_candidate"] == "upstream_failed"
    assert not dev.origin.has(candidate_branch(run))
    assert (dev.home / "runs" / run / "metrics/evaluation.json").is_file()
    dev.assert_undamaged()


def test_a_task_of_a_failed_run_is_cleared_and_the_run_stays_due_when_it_was(dev: Environment) -> None:
    dev.land(params_yaml=params(5, accuracy=0.8))
    run = dev.trigger()
    dev.finish(run)
    due, queued = dev.due(run)
    assert due - queued == timedelta(hours=12)
    task = "model_evaluation.gates"
    cleared = dev.airflow.call(
        "POST",
        f"/api/v2/dags/{DAG}/clearTaskInstances",
        {"dag_run_id": run, "task_ids": [task], "dry_run": False, "reset_dag_runs": True},
    )
    assert [one["task_id"] for one in cleared["task_instances"]] == [task]
    wait_for(lambda: dev.attempts(run)[task] == 2, seconds=120)
    assert dev.finish(run).state == "failed"
    assert dev.due(run)[0] == due
    dev.assert_undamaged()
