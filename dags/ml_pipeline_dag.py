"""
# Training pipeline

Trains the face-attribute model, from raw images to a **candidate**: a branch from which a pull request is
opened. Nothing deploys itself.

Each task receives a commit, runs one DVC stage on it in a throw-away clone, and returns the commit that holds
the results. You can clear a task and run it again at any time; it starts from the same commit.

| parameter | meaning |
|---|---|
| `ref` | the branch, or the full id of a commit of a branch; only where the release follows `main` |
| `profile` | `full`, or `small` for a run of a minute or two, which never becomes a candidate |

**The commit that is trained.** In the environment that follows `main` (dev) it is `main`, or the branch or
commit that `ref` names. In every other environment it is the commit of the release that runs there, with the
labelled batches that wait there. A run with another `ref` fails at once.

## Labelled batches

Put photographs whose true attributes are now known into `$VISAGE_HOME/labelled/<batch>/`: photographs and
their attribute list, `list_attr_celeba.txt` or `.csv`. Rename the complete folder into place, so that no
run finds half a batch. `append_labelled` makes a commit for each batch that is neither in the trained commit
nor in `main`. A batch that cannot be read is left out with a notice, and the run goes on. The batches reach
`main` with the candidate. You can remove the folder of a batch once `main` has the batch.

You need not move scored images whose labels arrived late (see monitoring). Once a hundred of them have labels
that no batch has yet, `append_labelled` collects them into a batch `<environment>-<day>`. Leave the folder of
such a batch in place: it records which images have been collected. Training never sees some images of an
appended batch. `compare_drifted` compares the new model with the model that runs here on these images only,
and the candidate's message has the result.

## Gates

`gates` compares the results with the release that runs here and with the settings of this environment; its
log has the table. A model that fails a gate could not be merged. So the run **fails** there and proposes
nothing: the data or the code got worse, and somebody should look at it. A pull request that is red from the
start would hide that among others. The metrics are archived by then. To propose the model anyway, push its
commit: `git push origin <commit>:refs/heads/candidate/<name>`. The merge evaluates the gates again.

## Results

| result | location |
|---|---|
| the candidate | the log of `propose_candidate`, or the reason why there is no candidate |
| metrics, plots and parameters of a run | `$VISAGE_HOME/runs/<run id>/`, for the newest 200 runs |
| the same in git, for every run | the tag `archive/<run>`; the log of `archive` prints its name |
| the commit of each task | the branch `run/<run>` |
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import Param, TaskGroup, dag, task

from visage_dags import context, search
from visage_dags.dag_defaults import FROM_CONTEXT, TRAINING, default_dag_args


@task(multiple_outputs=True)
def check_environment(params: dict[str, Any] = FROM_CONTEXT, run_id: str = FROM_CONTEXT) -> dict[str, str]:
    """Find the commit to train and check the requirements of a run; list everything that is missing."""
    import logging

    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from gitops import tasks
    from visage_dags import readiness

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
    """Return the file to wait for. The waiting task calls this, since folders differ between machines."""
    from visage_dags import readiness

    return readiness.raw_data_pattern(source, context.CHECKOUT)


@task(execution_timeout=timedelta(hours=6))
def pull(commit: str, stages: list[str]) -> str:
    """Copy the data of `commit` for `stages` from the DVC remote into this environment's cache."""
    from gitops import tasks

    return tasks.pull_data(commit=commit, stages=stages)


@task(execution_timeout=timedelta(hours=6))
def append_labelled(commit: str, run_id: str = FROM_CONTEXT, dag_run: Any = FROM_CONTEXT) -> str:
    """Collect images that now have labels, append each waiting batch, and return the last commit."""
    import logging

    from gitops import tasks
    from visage_dags import labelled, notices

    log = logging.getLogger(__name__)
    labelled.gather(context.home(), tasks.environment(), dag_run.run_after.date(), context.CHECKOUT)
    waiting = labelled.waiting(context.home())
    if not waiting:
        log.info("No labelled batch waits in %s.", context.home() / labelled.FOLDER)
        return commit
    names = {labelled.batch_name(folder): folder for folder in waiting}
    present = labelled.present([commit, tasks.branch_commit(branch="main")], list(names))
    left_out: list[str] = []
    for batch, name in names.items():
        folder = context.home() / labelled.FOLDER / name
        if batch in present:
            log.info("%s: skipped, as the commit that is trained from has it, or main.", batch)
            continue
        try:
            commit = tasks.run_command(
                commit=commit,
                command=["python", "-m", "face_attributes", "append", str(folder), "--name", batch],
                run_id=run_id,
                message=f"Append labelled batch {batch}",
                data=[labelled.pointer(batch)],
                minutes=60,
            )
        except tasks.CommandError as error:
            if (error.command or "").startswith("dvc "):
                raise  # the DVC remote, which the other batches need too
            log.error("%s is left out, the others are not: %s", batch, error)
            left_out.append(f"{folder} is left out of the training: {error}")
    if left_out:
        advice = "Mend or remove the folder. The next run takes it, or names it again."
        notices.notify("labelled batches are left out", "\n".join([*left_out, advice]))
    return commit


@task(execution_timeout=timedelta(hours=6), pool=TRAINING)
def run_stage(commit: str, stage: str, run_id: str = FROM_CONTEXT) -> str:
    """Run one DVC stage on `commit` and return the commit that holds its results."""
    from gitops import tasks

    return tasks.run_stage(commit=commit, stage=stage, run_id=run_id)


@task(execution_timeout=timedelta(hours=6), multiple_outputs=False)
def trial(commit: str, number: int, earlier: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Run one trial of the search on `commit`, and return its record."""
    return dict(search.run(commit, number, earlier))


@task(execution_timeout=timedelta(hours=6), pool=TRAINING)
def tune(commit: str, rounds: list[list[dict[str, Any]]], run_id: str = FROM_CONTEXT) -> str:
    """Run the DVC stage tune, which runs the trials that `rounds` lack, and return the new commit."""
    from gitops import tasks

    return tasks.run_stage_given(commit=commit, stage="tune", run_id=run_id, given=search.given(rounds))


@task(execution_timeout=timedelta(hours=6), pool=TRAINING)
def evaluate(commit: str, run_id: str = FROM_CONTEXT) -> str:
    """Run the DVC stages evaluate and card on `commit` and return the commit that holds their results."""
    from gitops import tasks

    result = tasks.run_stage(commit=commit, stage="evaluate", run_id=run_id)
    pipeline = tasks.parse_yaml(text=tasks.inspect(commit=result, files=["dvc.yaml"])["files"]["dvc.yaml"])
    # A branch may be older than the stage
    if "card" not in pipeline["stages"]:
        return result
    return tasks.run_stage(commit=result, stage="card", run_id=run_id)


@task(execution_timeout=timedelta(hours=3))
def push(commit: str, stages: list[str]) -> str:
    """Make sure that the DVC remote has all outputs of `stages`, whichever machine made them."""
    from gitops import tasks

    return tasks.push_data(commit=commit, stages=stages)


@task(execution_timeout=timedelta(hours=1))
def compare_drifted(base: str, result: str, run_id: str = FROM_CONTEXT) -> str:
    """Compare the new model with the model that runs here, on the batches that this run appended."""
    import logging

    from gitops import tasks
    from visage_dags import labelled

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
def archive(result: str, run_id: str = FROM_CONTEXT) -> str:
    """Archive metrics, plots and parameters under the id of the run, and return their commit."""
    import logging

    from gitops import tasks

    folder = tasks.archive(commit=result, run_id=run_id)
    logging.getLogger(__name__).info("Archived in %s.", folder)
    return result


@task(execution_timeout=timedelta(hours=2))
def gates(result: str, params: dict[str, Any] = FROM_CONTEXT) -> str:
    """Evaluate the gates of this environment on the results; a full run fails if a gate fails."""
    import logging

    from airflow.sdk.exceptions import AirflowFailException

    from gitops import tasks

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
def propose_candidate(
    base: str, result: str, params: dict[str, Any] = FROM_CONTEXT, run_id: str = FROM_CONTEXT
) -> str:
    """Push the results as one commit to a new branch; return the branch, or "" if there is none."""
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
    description="Trains the model from raw images to a candidate; each step is a commit",
    schedule="@daily",
    params={
        "ref": Param(
            "",
            type="string",
            maxLength=255,
            description="A branch or full commit id, where the release follows main; otherwise empty",
        ),
        "profile": Param(
            "full", enum=["full", "small"], description="small takes a minute or two, never a candidate"
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
        rounds: list[Any] = []
        for number, trials in enumerate(search.rounds(context.CHECKOUT), start=1):
            with TaskGroup(f"round_{number}"):
                rounds.append(trial.partial(commit=prepared, earlier=list(rounds)).expand(number=trials))
        tuned = tune(prepared, rounds)
    with TaskGroup("model_training"):
        trained = run_stage.override(task_id="train")(tuned, "train")
        exported = run_stage.override(task_id="export")(trained, "export")
        pushed = push(exported, ["train", "export"])
    with TaskGroup("model_evaluation"):
        evaluated = evaluate(pushed)
        referenced = run_stage.override(task_id="reference")(evaluated, "reference")
        compared = compare_drifted(environment["base"], referenced)
        archived = archive(compared)
        judged = gates(archived)

    branch = propose_candidate(environment["base"], judged)
    notify_success(branch, judged)


ml_pipeline_face_attributes()
