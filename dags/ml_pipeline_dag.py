"""
# Training pipeline

Trains the face-attribute model from raw images to a **candidate**: a branch from which a pull request is
opened. Nothing deploys itself.

Each task takes a commit, runs one DVC stage on it in a throw-away clone, and hands on the commit that holds
the results. A task can be cleared and run again at any time; it starts from the same commit.

| parameter | meaning |
|---|---|
| `ref` | in dev alone: the branch, or the full id of a commit of a branch, to train from; empty: `main` |
| `profile` | `full`, or `small` for a run of a minute or two, which never becomes a candidate |

**Which commit is trained.** In dev it is `main`, or the branch or commit that `ref` names. In every other
environment it is the commit of the release that runs there, with the labelled batches that wait there; a run
with another `ref` fails at once.

## Labelled batches

Photographs whose true attributes are known by now go to `$VISAGE_HOME/labelled/<batch>/`: JPEGs, and their
attribute list `list_attr_celeba.txt` or `.csv`. Move the folder in whole (rename it), so that it is complete
when it appears. `append_labelled` makes a commit of each that neither the commit trained from nor `main` has
yet. They reach `main` with the candidate. Once `main` has a batch, you can remove its folder.

Scored images whose labels came late (see monitoring) need no hand: `append_labelled` gathers them into a
batch `<environment>-<day>` once a hundred have labels that no batch has yet. Leave the folder of such a batch
where it is: it says which images have been gathered. Of batches that a run appended, the images that training
never sees tell what it is worth there: `compare_drifted` holds the new model against the one that runs here
on these images alone, and the candidate's message says what came of it.

## Gates

`gates` holds the results against what this environment runs and against its settings; its log has the
table. A model that fails a gate could not be merged. So the run **fails** there and proposes nothing: data or
code got worse, which somebody should look at, and a pull request that is red from the start would hide that
among others. What was measured is archived by then. To propose the model all the same, push its commit:
`git push origin <commit>:refs/heads/candidate/<name>`; the gates are asked again at the merge.

## Where to look

| what | where |
|---|---|
| the candidate | the log of `propose_candidate`; a run that made nothing new says so there |
| metrics, plots and parameters of a run | `$VISAGE_HOME/runs/<run id>/`, of the newest 200 runs |
| the same in git, of every run | the tag `archive/<run>`; the log of `archive` has its name |
| the commit of each task | the branch `run/<run>` |
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import Param, TaskGroup, dag, task

from visage_dags.dag_defaults import TRAINING, default_dag_args


@task(multiple_outputs=True)
def check_environment(params: dict[str, Any], run_id: str) -> dict[str, str]:
    """Find the commit to train from, and everything that a run needs; name all that is missing."""
    import logging

    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from gitops import tasks
    from visage_dags import context, readiness

    log = logging.getLogger(__name__)
    try:
        ref = tasks.training_ref(ref=params["ref"], release=context.release())
    except tasks.RuleError as error:
        raise AirflowFailException(str(error)) from error
    found = readiness.survey(ref, context.home())
    if found.lacks:
        # A remote that does not answer may answer the next attempt. Anything else needs a person.
        raise AirflowException(str(found)) if found.transient else AirflowFailException(str(found))
    log.info(
        "Training from %s (%s), profile %s, source %s.",
        *(found.commit, ref, params["profile"], found.source),
    )
    start = found.commit
    if params["profile"] != "full":
        start = tasks.run_command(
            commit=found.commit,
            command=["python", "-m", "face_attributes", "profile", params["profile"]],
            run_id=run_id,
            message=f"Use profile {params['profile']}",
        )
    return {"base": found.commit, "start": start, "source": found.source}


def raw_data(source: str) -> str:
    """Return the file to wait for. The task that waits calls this: another machine has other folders."""
    from visage_dags import context, readiness

    return readiness.raw_data_pattern(source, context.CHECKOUT)


@task(execution_timeout=timedelta(hours=6))
def pull(commit: str, stages: list[str]) -> str:
    """Copy the data that `commit` has for `stages` from the DVC remote into this environment's cache."""
    from gitops import tasks

    return tasks.pull_data(commit=commit, stages=stages)


@task(execution_timeout=timedelta(hours=6))
def append_labelled(commit: str, run_id: str, dag_run: Any) -> str:
    """Gather the images that have labels by now, append each batch that waits, and return the last commit."""
    import logging

    from gitops import tasks
    from visage_dags import context, labelled

    log = logging.getLogger(__name__)
    labelled.gather(context.home(), tasks.environment(), dag_run.run_after.date(), context.CHECKOUT)
    waiting = labelled.waiting(context.home())
    if not waiting:
        log.info("No labelled batch waits in %s.", context.home() / labelled.FOLDER)
        return commit
    present = labelled.present([commit, tasks.branch_commit(branch="main")], waiting)
    for batch in waiting:
        folder = context.home() / labelled.FOLDER / batch
        if batch in present:
            log.info("%s: skipped, as the commit that is trained from has it, or main.", batch)
            continue
        commit = tasks.run_command(
            commit=commit,
            command=["python", "-m", "face_attributes", "append", str(folder)],
            run_id=run_id,
            message=f"Append labelled batch {batch}",
            data=[labelled.pointer(batch)],
            minutes=60,
        )
    return commit


@task(execution_timeout=timedelta(hours=6), pool=TRAINING)
def run_stage(commit: str, stage: str, run_id: str) -> str:
    """Run one DVC stage on `commit` and return the commit that holds its results."""
    from gitops import tasks

    return tasks.run_stage(commit=commit, stage=stage, run_id=run_id)


@task(execution_timeout=timedelta(hours=3))
def push(commit: str, stages: list[str]) -> str:
    """Make sure that the DVC remote has everything that `stages` made, on whichever machine."""
    from gitops import tasks

    return tasks.push_data(commit=commit, stages=stages)


@task(execution_timeout=timedelta(hours=1))
def compare_drifted(base: str, result: str, run_id: str) -> str:
    """Compare the new model with the one that runs here, on the batches that this run appended."""
    import logging

    from gitops import tasks
    from visage_dags import context, labelled

    log = logging.getLogger(__name__)
    batches = labelled.added(base, result)
    if not batches:
        log.info("No batch of %d images or more was appended: nothing to compare on.", labelled.MINIMUM)
        return result
    incumbent = tasks.fetch_model(release=context.release())
    if not incumbent:
        log.info("Nothing to compare with: the release that runs here has no model.")
        return result
    model, holdout = "models/model.onnx", "data/holdout.parquet"
    command = ["python", "-m", "face_attributes", "compare", "--model", model, "--incumbent", incumbent]
    for batch in batches:
        command += ["--batch", batch]
    return tasks.run_command(
        commit=result,
        command=[*command, "--out", "metrics/drifted.json"],
        run_id=run_id,
        message=f"Compare with the incumbent on {', '.join(batches)}",
        needs=[model, holdout],
        minutes=50,
    )


@task
def archive(result: str, run_id: str) -> str:
    """Keep metrics, plots and parameters under the id of the run, and return the commit that has them."""
    import logging

    from gitops import tasks

    folder = tasks.archive(commit=result, run_id=run_id)
    logging.getLogger(__name__).info("Archived in %s.", folder)
    return result


@task(execution_timeout=timedelta(hours=2))
def gates(result: str, params: dict[str, Any]) -> str:
    """Judge the results by the gates of this environment; a full run that fails a gate fails."""
    import logging

    from airflow.sdk.exceptions import AirflowFailException

    from gitops import tasks
    from visage_dags import context

    log = logging.getLogger(__name__)
    incumbent = context.release()
    judged = tasks.judge(commit=result, incumbent=incumbent)
    log.info("%s against %s, which runs in %s:", result[:12], incumbent[:12], tasks.environment())
    for line in judged["table"].splitlines():
        log.info("%s", line)
    if judged["failed"] and params["profile"] == "full":
        raise AirflowFailException(f"{result[:12]} is not proposed: {'; '.join(judged['failed'])}")
    if judged["failed"]:
        log.info("A run at profile %s may fail gates: it is never proposed.", params["profile"])
    return result


@task
def propose_candidate(base: str, result: str, params: dict[str, Any], run_id: str) -> str:
    """Push the results as one commit on a branch of its own; return it, or "" for nothing to propose."""
    import logging

    from gitops import tasks

    if params["profile"] != "full":
        logging.getLogger(__name__).info("A run at profile %s is never proposed.", params["profile"])
        return ""
    return tasks.propose(base=base, commit=result, run_id=run_id)


@task
def notify_success(branch: str, result: str) -> None:
    """Send a notice with the outcome of the run."""
    import logging

    from visage_dags import notices

    if branch:
        subject = f"proposed {branch}"
        body = f"The run succeeded: {branch} waits for its pull request."
    else:
        subject = "nothing to propose"
        body = f"The run succeeded with {result}; there is nothing to propose."
    logging.getLogger(__name__).info("%s", body)
    notices.notify(subject, body)


@dag(
    **default_dag_args("ml_pipeline_face_attributes"),
    description="From raw images to a candidate model, step by step, each a commit",
    schedule="@daily",
    params={
        "ref": Param(
            "",
            type="string",
            maxLength=255,
            description="In dev: the branch to train from, or a full commit id; empty: main. Elsewhere empty",
        ),
        "profile": Param(
            "full", enum=["full", "small"], description="small: a minute or two, never a candidate"
        ),
    },
    user_defined_macros={"raw_data": raw_data},
    tags=["visage", "training"],
    doc_md=__doc__,
)
def ml_pipeline_face_attributes() -> None:
    environment = check_environment()
    check_raw_data = FileSensor(
        task_id="check_raw_data",
        filepath="{{ raw_data(ti.xcom_pull(task_ids='check_environment', key='source')) }}",
        recursive=True,
        mode="reschedule",
        poke_interval=30,
        timeout=timedelta(hours=12).total_seconds(),
    )
    environment >> check_raw_data

    with TaskGroup("data_preparation"):
        pulled = pull(environment["start"], ["collect", "prepare"])
        appended = append_labelled(pulled)
        collected = run_stage.override(task_id="collect")(appended, "collect")
        prepared = run_stage.override(task_id="prepare")(collected, "prepare")
    check_raw_data >> pulled
    with TaskGroup("hyperparameter_optimization"):
        tuned = run_stage.override(task_id="tune")(prepared, "tune")
    with TaskGroup("model_training"):
        trained = run_stage.override(task_id="train")(tuned, "train")
        exported = run_stage.override(task_id="export")(trained, "export")
        pushed = push(exported, ["train", "export"])
    with TaskGroup("model_evaluation"):
        evaluated = run_stage.override(task_id="evaluate")(pushed, "evaluate")
        referenced = run_stage.override(task_id="reference")(evaluated, "reference")
        compared = compare_drifted(environment["base"], referenced)
        archived = archive(compared)
        judged = gates(archived)

    branch = propose_candidate(environment["base"], judged)
    notify_success(branch, judged)


ml_pipeline_face_attributes()
