"""A missed deadline whose callback asks for an executor, met by the scheduler's own code."""

import json
import sys
from pathlib import Path

from tests.support.command import captured

# In a process of its own: Airflow takes its database from the environment when it is imported. The tables are
# made without migrations, which take half a minute.
MISS = """
import json
from datetime import UTC, datetime, timedelta

import airflow.settings
from airflow._shared.module_loading import import_string
from airflow.executors.executor_loader import ExecutorLoader
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models import DagModel, DagRun, Trigger
from airflow.models.base import Base
from airflow.models.callback import Callback, TriggererCallback
from airflow.models.dagbundle import DagBundleModel
from airflow.models.deadline import Deadline
from airflow.sdk import SyncCallback
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from airflow.utils.types import DagRunType, DagRunTriggeredByType

Base.metadata.create_all(airflow.settings.engine)
now = datetime.now(UTC)
with create_session() as session:
    session.add(DagBundleModel(name="release"))
    session.flush()
    dag = DagModel(dag_id="score_faces", bundle_name="release", relative_fileloc="x.py", fileloc="x.py")
    session.add(dag)
    session.flush()
    run = DagRun(dag_id="score_faces", run_id="manual__1", run_type=DagRunType.MANUAL, run_after=now)
    run.queued_at = now
    run.triggered_by = DagRunTriggeredByType.REST_API
    run.bundle_version = "a" * 40
    session.add(run)
    session.flush()
    session.add(Deadline(
        deadline_time=now - timedelta(hours=1),
        callback=SyncCallback("visage_dags.notices.on_deadline"),
        dagrun_id=run.id,
        deadline_alert_id=None,
        dag_id="score_faces",
    ))
executor = ExecutorLoader.get_default_executor()
scheduler = SchedulerJobRunner(job=Job(), executors=[executor])
with create_session() as session:
    session.query(Deadline).one().handle_miss(session)
    scheduler._enqueue_executor_callbacks(session)
with create_session() as session:
    row = session.query(Callback).one()
    assert type(row) is TriggererCallback, row
    trigger = session.query(Trigger).one()
    assert trigger.id == row.trigger_id
    print(json.dumps({
        "executor": type(executor).__module__,
        "state": row.state,
        "trigger": trigger.classpath,
        "path": trigger.kwargs["callback_path"],
        "run": trigger.kwargs["callback_kwargs"]["context"]["dag_run"]["dag_run_id"],
    }))
    row.handle_event(TriggerEvent({"state": "success", "body": None}), session)
with create_session() as session:
    assert session.query(Callback).one().state == "success"
    scheduler._enqueue_executor_callbacks(session)
"""


def test_a_scheduler_on_kubernetes_hands_it_to_the_triggerer(tmp_path: Path) -> None:
    done = captured(
        [sys.executable, "-W", "ignore", "-c", MISS],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__EXECUTOR": "gitops.airflow.executor.KubernetesExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'airflow.db'}",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "executor": "gitops.airflow.executor",
        "state": "queued",
        "trigger": "airflow.triggers.callback.CallbackTrigger",
        "path": "gitops.tasks.on_late_run",
        "run": "manual__1",
    }
