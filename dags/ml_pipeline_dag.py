"""
# Training pipeline

Trains the face-attribute model from raw images to a **candidate**: a branch from which a pull request is
opened. Nothing deploys itself.

Each task takes a commit, runs one DVC stage on it in a throw-away clone, and hands on the commit that holds
the results. A task can be cleared and run again at any time; it starts from the same commit.

| parameter | meaning |
|---|---|
| `ref` | the branch or the full commit id to train from (default `main`) |
| `profile` | `full`, or `small` for a run of a minute or two, which never becomes a candidate |

Where to look: the log of `propose_candidate` names the branch; the branch `run/<run>` has the commit of each
task.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import Param, TaskGroup, dag, task

from visage_dags.conduct import house


@task(multiple_outputs=True)
def check_environment(params: dict[str, Any], run_id: str) -> dict[str, str]:
    """Find the commit to train from, and everything that a run needs; name all that is missing."""
    import logging

    import yaml
    from airflow.sdk.exceptions import AirflowFailException

    from gitops.candidate import run_branch
    from gitops.step import run_command
    from gitops.workspace import resolve, workspace
    from visage_dags import place, readiness

    log = logging.getLogger(__name__)
    origin = place.origin()
    commit = resolve(origin, params["ref"], place.workspaces())
    with workspace(origin, commit, place.workspaces()) as space:
        if lacks := readiness.lacks(space.path, place.home()):
            raise AirflowFailException("Not ready to train:\n" + "\n".join(f"- {lack}" for lack in lacks))
        source = yaml.safe_load((space.path / "params.yaml").read_text())["data"]["source"]
    log.info(
        "Training from %s (%s), profile %s, data.source %s.", commit, params["ref"], params["profile"], source
    )
    start = commit
    if params["profile"] != "full":
        start = run_command(
            origin,
            commit,
            ["python", "-m", "face_attributes", "profile", params["profile"]],
            branch=run_branch(run_id),
            home=place.workspaces(),
            message=f"Use profile {params['profile']}",
        )
    return {
        "base": commit,
        "start": start,
        "raw_data": readiness.raw_data_pattern(source, place.RELEASE_ROOT),
    }


@task(execution_timeout=timedelta(hours=6))
def run_stage(commit: str, stage: str, run_id: str) -> str:
    """Run one DVC stage on `commit` and return the commit that holds its results."""
    from gitops.candidate import run_branch
    from gitops.step import run_stage
    from visage_dags import place

    return run_stage(place.origin(), commit, stage, branch=run_branch(run_id), home=place.workspaces())


@task
def propose_candidate(base: str, result: str, params: dict[str, Any], run_id: str) -> str:
    """Push the results as one commit on a branch of its own; return it, or '' for nothing to propose."""
    import logging

    from gitops.candidate import propose
    from visage_dags import place

    if params["profile"] != "full":
        logging.getLogger(__name__).info("A run at profile %s is never proposed.", params["profile"])
        return ""
    return propose(place.origin(), base, result, run_id=run_id, home=place.workspaces()) or ""


@task
def notify_success(branch: str, result: str) -> None:
    """Say what came of the run."""
    import logging

    log = logging.getLogger(__name__)
    if branch:
        log.info("The run ended well: %s waits for its pull request.", branch)
    else:
        log.info("The run ended well with %s; there is nothing to propose.", result)


@dag(
    **house("ml_pipeline_face_attributes"),
    description="From raw images to a candidate model, step by step, each a commit",
    schedule="@daily",
    params={
        "ref": Param(
            "main", type="string", minLength=1, description="Branch or full commit id to train from"
        ),
        "profile": Param(
            "full", enum=["full", "small"], description="small: a minute or two, never a candidate"
        ),
    },
    tags=["visage", "training"],
    doc_md=__doc__,
)
def ml_pipeline_face_attributes() -> None:
    environment = check_environment()
    check_raw_data = FileSensor(
        task_id="check_raw_data",
        filepath="{{ ti.xcom_pull(task_ids='check_environment', key='raw_data') }}",
        mode="reschedule",
        poke_interval=30,
        timeout=timedelta(hours=12).total_seconds(),
    )
    environment >> check_raw_data

    with TaskGroup("data_preparation"):
        collected = run_stage.override(task_id="collect")(environment["start"], "collect")
        prepared = run_stage.override(task_id="prepare")(collected, "prepare")
    check_raw_data >> collected
    with TaskGroup("hyperparameter_optimization"):
        tuned = run_stage.override(task_id="tune")(prepared, "tune")
    with TaskGroup("model_training"):
        trained = run_stage.override(task_id="train")(tuned, "train")
        exported = run_stage.override(task_id="export")(trained, "export")
    with TaskGroup("model_evaluation"):
        evaluated = run_stage.override(task_id="evaluate")(exported, "evaluate")
        referenced = run_stage.override(task_id="reference")(evaluated, "reference")

    branch = propose_candidate(environment["base"], referenced)
    notify_success(branch, referenced)


ml_pipeline_face_attributes()
