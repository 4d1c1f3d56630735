"""
# Monitoring and retraining

Answers two questions once a week. Do the images that this environment scores differ from the images that its
model was selected on? Is the model still right about images whose true attributes became known? On a bad
answer to either, and if labelled images wait that the release has not learned, it starts the training
pipeline, which ends with a candidate branch: **nothing deploys itself**.

| task | action |
|---|---|
| `check_data_drift` | compares the latest seven windows with the release's reference (Evidently) |
| `check_performance` | compares late labels (28 days) with the release's accuracy and `ACCURACY_THRESHOLD` |
| `decide` | chooses `trigger_retraining` after an alarm, if new labelled images wait for a training |
| `trigger_retraining` | starts `ml_pipeline_face_attributes` on the release's commit, or on `main` |
| `skip_retraining` | runs otherwise, for example if a training is queued or running |
| `log_monitoring_results` | adds a line to `monitoring/decisions.jsonl` |
| `send_notification` | notifies the team of an alarm that begins, clears or leads to a training |

| parameter | meaning |
|---|---|
| `profile` | profile of the training: `full`, or `small` for a trial of a minute or two, never a candidate |

**Late labels** go to `labels/<batch>.csv` in the environment's data folder. The header has `image_id` and the
attributes. Each further line has an image's path within the batch, and -1 or 1 for each attribute. In a file
with another name, `image_id` is `<batch>/<path>`. The check leaves out a malformed file, and
its reasons name it. Files that contradict each other stop it.

**A window** is a day with 100 images or more, or as many successive days as it takes to reach 100. The same
image counts once, on the first day that it was scored. A column has drifted when it differs in two of the
latest seven windows; one bad day is not enough. Its false alarms: benchmarks/results/drift.md.

**Not enough data** (fewer than two windows, or fewer than 100 labels) is a separate result and starts no
training. Only scores of the release's model count. Before the first training the run is skipped.

**You get a notice when an alarm begins**, and one if it leads to a training later. The alarm lasts until a
check with enough data finds that it has cleared, and you get a notice of that too. The record has each check.

**A retraining learns from labelled images.** After an alarm, `decide` collects the scored images whose labels
arrived into a labelled batch, once there are a hundred. A training starts only if a batch waits that neither
the release nor `main` has, and no earlier training learned from it. If only the images changed, and that is
probably harmless, none starts. The notice asks you for labels.

## On call

- *An alarm*: follow docs/runbooks/drift.md or docs/runbooks/accuracy.md.
- *A retraining waits because the pipeline is paused*: unpause `ml_pipeline_face_attributes` here, or delete
  its queued run. `ACTIVE_DAGS` in `environments/<env>/settings.env` lists the DAGs that start unpaused.
- *Which columns moved?* Open `monitoring/<run>/drift.html`, Evidently's report (the last 12 are kept).
  `drift.json` and `performance.json` have the metrics.
- *A check fails*: the last line of its log names the file that it cannot use, and why. Correct or move the
  file, then clear the task. A release without a reference must be trained again; roll back until then.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, TriggerRule, dag, task

from visage_dags import monitoring, notices
from visage_dags.dag_defaults import FROM_CONTEXT, default_dag_args


class StartTraining(TriggerDagRunOperator):
    """Starts a training run whose note repeats the findings of this run."""

    template_fields = (*TriggerDagRunOperator.template_fields, "note")


@task(execution_timeout=timedelta(hours=1))
def check_data_drift(run_id: str = FROM_CONTEXT, dag_run: Any = FROM_CONTEXT) -> str:
    """Compare recent scores with the release's reference; return the path of the verdict."""
    from visage_dags import checks, context

    folder = monitoring.evidence(context.home(), run_id)
    return checks.run(
        "drift",
        monitoring.last_days(monitoring.DRIFT_DAYS, dag_run.run_after),
        folder / "drift.json",
        "--report",
        str(folder / "drift.html"),
    )


@task(execution_timeout=timedelta(hours=1))
def check_performance(run_id: str = FROM_CONTEXT, dag_run: Any = FROM_CONTEXT) -> str:
    """Compare scores with the labels that arrived later; return the path of the verdict."""
    from gitops import tasks
    from visage_dags import checks, context

    labels = context.home() / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    return checks.run(
        "performance",
        monitoring.last_days(monitoring.LABEL_DAYS, dag_run.run_after),
        monitoring.evidence(context.home(), run_id) / "performance.json",
        "--labels",
        str(labels),
        "--threshold",
        str(tasks.setting(name="ACCURACY_THRESHOLD")),
        "--evaluation",
        str(context.CHECKOUT / "metrics/evaluation.json"),
        "--max-loss",
        str(tasks.setting(name="MAX_PERFORMANCE_LOSS")),
    )


@task.branch(execution_timeout=timedelta(hours=1))
def decide(
    drift: str,
    performance: str,
    run_id: str = FROM_CONTEXT,
    dag_run: Any = FROM_CONTEXT,
    params: dict[str, Any] = FROM_CONTEXT,
    ti: Any = FROM_CONTEXT,
) -> str:
    """Choose the branch, and store the reasons for the tasks that follow."""
    import logging

    from gitops import tasks
    from visage_dags import alerts, checks, context, labelled
    from visage_dags.records import Drift, Performance

    found = checks.read(drift, Drift), checks.read(performance, Performance)
    in_flight = ti.get_dr_count(dag_id=monitoring.TRAINING, states=["queued", "running"])
    batches, earlier = [], ""
    if any(alerts.raised(*found).values()):
        home, day = context.home(), dag_run.run_after.date()
        batches = labelled.new(home, tasks.environment(), day, context.CHECKOUT, context.release())
        before = monitoring.lines(home)
        earlier = monitoring.same_data(before, run_id, context.release(), params["profile"], batches)
    # One that failed may succeed the next time.
    trained = earlier and ti.get_dr_count(dag_id=monitoring.TRAINING, run_ids=[earlier], states=["success"])
    decision = monitoring.decide(*found, in_flight, batches, earlier if trained else None)
    for reason in decision.reasons:
        logging.getLogger(__name__).info("%s.", reason)
    ti.xcom_push(key="retrain", value=decision.retrain)
    ti.xcom_push(key="reasons", value=list(decision.reasons))
    ti.xcom_push(key="batches", value=list(decision.batches))
    return "trigger_retraining" if decision.retrain else "skip_retraining"


# Of a run that failed before it decided there is nothing to record, and its failure has to stay in sight.
@task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, multiple_outputs=False)
def log_monitoring_results(
    drift: str,
    performance: str,
    run_id: str = FROM_CONTEXT,
    dag_run: Any = FROM_CONTEXT,
    params: dict[str, Any] = FROM_CONTEXT,
    ti: Any = FROM_CONTEXT,
) -> dict[str, Any]:
    """Record the decision with its evidence and the training that it started; return the line."""
    import logging

    from gitops import tasks
    from visage_dags import checks, context
    from visage_dags.records import Drift, Performance

    log = logging.getLogger(__name__)
    retrain, reasons, batches = (
        ti.xcom_pull(task_ids="decide", key=key) for key in ("retrain", "reasons", "batches")
    )
    training = monitoring.training_run(run_id)
    line = monitoring.line_of(
        run_id=run_id,
        at=dag_run.run_after,
        environment=tasks.environment(),
        decision=monitoring.Decision(retrain, tuple(reasons), tuple(batches)),
        profile=params["profile"],
        # Asked rather than concluded: a task that was killed may have started it.
        triggered=training if ti.get_dr_count(dag_id=monitoring.TRAINING, run_ids=[training]) else None,
        drift=checks.read(drift, Drift),
        performance=checks.read(performance, Performance),
        record=monitoring.lines(context.home()),
    )
    new = monitoring.record(context.home(), line)
    monitoring.drop_old_reports(context.home())
    log.info("%s: %s", "Recorded" if new else "Recorded before", line)
    return line


@task
def send_notification(line: dict[str, Any], ti: Any = FROM_CONTEXT) -> None:
    """Notify the team of each alarm that begins, clears or leads to a training with this check."""
    import logging

    from gitops import tasks
    from visage_dags import context

    news = monitoring.news(line)
    if not news:
        logging.getLogger(__name__).info("No notice: no alarm begins, clears or leads to a training.")
        return
    paused = bool(line["triggered"]) and ti.get_dag(monitoring.TRAINING).is_paused
    for alarm in news:
        page = tasks.runbook(name=alarm, release=line["release"], checkout=str(context.CHECKOUT))
        way = tasks.rollback_instructions(environment=line["environment"])
        message = monitoring.message(line, alarm, training_is_paused=paused, runbook=page, way_back=way)
        notices.notify(*message)


@dag(
    **default_dag_args("model_monitoring_and_retraining"),
    description="Checks drift and accuracy; starts a training if either is bad",
    schedule="@weekly",
    params={
        "profile": Param(
            "full", enum=["full", "small"], description="Profile of the training; small: never a candidate"
        ),
    },
    tags=["visage", "monitoring"],
    doc_md=__doc__,
)
def model_monitoring_and_retraining() -> None:
    drift, performance = check_data_drift(), check_performance()
    decision = decide(drift, performance)
    trigger_retraining = StartTraining(
        task_id="trigger_retraining",
        trigger_dag_id=monitoring.TRAINING,
        # The same at every attempt, so that a retry does not start a second one.
        trigger_run_id=monitoring.training_run("{{ run_id }}"),
        skip_when_already_exists=True,
        logical_date=None,
        # Which commit it trains is decided there, by the environment alone.
        conf={"profile": "{{ params.profile }}"},
        note="Started by monitoring. {{ ti.xcom_pull(task_ids='decide', key='reasons') | join('. ') }}.",
    )
    skip_retraining = EmptyOperator(task_id="skip_retraining")
    line = log_monitoring_results(drift, performance)
    decision >> [trigger_retraining, skip_retraining]
    # Also after the decision itself: a training that was started before is skipped, and so are both branches.
    [decision, trigger_retraining, skip_retraining] >> line
    send_notification(line)


model_monitoring_and_retraining()
