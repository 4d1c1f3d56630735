"""The signs that the dag-processor reads of a release from Airflow's own database: a real one, in a file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

# In a process of its own, as Airflow binds its database when it is loaded.
SCRIPT = """\
import json, sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from airflow import settings
from airflow.jobs.job import Job
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.models import import_all_models
from airflow.models.base import Base

from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory

from gitops.airflow.observe import observe
from gitops.release.health import Health

now = datetime.now(UTC)
NEW, OLD = "b" * 40, "a" * 40
settings.configure_orm()
import_all_models()
engine = settings.engine
if sys.argv[1] != "none":
    Base.metadata.create_all(engine)

def at(minutes):
    return now - timedelta(minutes=minutes)

number = iter(range(1, 1000))

def run(dag, version, state, start, end, attempts=(), images=None):
    key = f"run{next(number)}"
    session.add(DagRun(dag_id=dag, run_id=key, run_type="manual", state=state, start_date=start,
                       run_after=start, bundle_version=version))
    session.flush()
    for attempt, result in reversed([*enumerate(attempts, 1)]):
        # The last attempt is the task's own row, those before are history.
        last = attempt == len(attempts)
        kind = TaskInstance if last else TaskInstanceHistory
        key_of = {"id" if last else "task_instance_id": uuid4()}
        session.execute(kind.__table__.insert().values(
            **key_of, task_id="score", dag_id=dag, run_id=key, map_index=-1, try_number=attempt, state=result,
            start_date=start, end_date=start + timedelta(seconds=20), max_tries=3, pool="p", pool_slots=1,
            queue="q", priority_weight=1, operator="o", hostname="", unixname="", custom_operator_name="",
            span_status="x"))
    if images:
        session.add(AssetEvent(asset_id=asset.id, extra=images, source_dag_id=dag, source_task_id="score",
                               source_run_id=key, source_map_index=-1))
    row = session.query(DagRun).filter_by(run_id=key).one()
    row.start_date, row.end_date, row.bundle_version, row._state = start, end, version, state

if sys.argv[1] != "none":
    session = settings.Session()
    session.add(DagBundleModel(name="release"))
    session.flush()
    for dag, paused in (("score_faces", False), ("paused", True), ("verify_release", False)):
        session.add(DagModel(dag_id=dag, bundle_name="release", is_paused=paused, is_stale=False,
                             last_parsed_time=at(1), fileloc=dag, relative_fileloc=dag))
    for file, why in (("odd.py", "Trace\\nNo module"), ("known.py", "x")):
        session.add(ParseImportError(filename=file, bundle_name="release", stacktrace=why, timestamp=now))
    session.flush()
    asset = AssetModel(name="scores", uri="visage://scores")
    session.add(asset)
    session.flush()
    run("score_faces", NEW, "failed", at(5), at(4), ["failed", "failed"])
    run("score_faces", NEW, "success", at(5), at(4), ["failed", "success"], {"rows": 300, "quarantined": 4})
    run("score_faces", NEW, "success", at(5), at(4), ["success"], {"rows": 9000, "whole": False})
    run("score_faces", OLD, "failed", at(5), at(3))       # began with the release before
    run("score_faces", OLD, "success", at(50), at(49))
    run("paused", NEW, "failed", at(5), at(4))            # nobody asked for it
    run("verify_release", NEW, "failed", at(5), at(4))
    for kind in ("SchedulerJob", "TriggererJob"):
        job = Job(job_type=kind)
        job.latest_heartbeat = at(0) if kind == "SchedulerJob" else at(9)
        session.add(job)
    session.commit()
watch = Health(releases=[NEW], before=OLD, since=at(10), until=now, known_errors=["known.py"])
seen = observe(watch, now)
print("\\0" + json.dumps(asdict(seen), default=str))
"""


def seen(tmp_path: Path, tables: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path}/airflow.db")
    command = [sys.executable, "-c", SCRIPT, tables]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("\0")[2])


def test_runs_count_for_the_release_that_they_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen(tmp_path, "all", monkeypatch)
    assert found["now"]["runs"] == {"score_faces": {"failed": 1, "ended": 3}}
    assert found["now"]["attempts"] == {"score_faces.score": {"failed": 3, "ended": 5}}
    assert found["now"]["scoring"] == {"images": 300, "seconds": 20.0, "quarantined": 4}
    assert found["before"]["runs"] == {"score_faces": {"failed": 1, "ended": 2}}
    assert found["import_errors"] == {"odd.py": "No module"}
    assert found["ill"] == ["triggerer: reported last 540 s ago"]
    assert found["parsed"]


def test_a_database_that_does_not_answer_is_an_illness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen(tmp_path, "none", monkeypatch)
    assert str(found["ill"]).startswith("['database: ")
    assert not found["parsed"]
