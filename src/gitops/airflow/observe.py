"""Reading the signs of a release from Airflow's database.

Only the dag-processor does, which has the database anyway. Tasks have no access to it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from airflow.jobs.job import Job
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.deadline import Deadline
from airflow.models.errors import ParseImportError
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.utils.session import create_session
from sqlalchemy import and_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute, Session

from gitops.airflow.client import BUNDLE, SHADOW, VERIFY
from gitops.airflow.health import Observation, Record, Scoring, Tally
from gitops.release.health import Health
from gitops.text import json_values, parse

_BEFORE = timedelta(days=30)
_MOST = 5000
_SILENT = timedelta(minutes=2)
_SCORES = "scores"
_ENDED = ("success", "failed")
_PARSED_AT_LAST = timedelta(minutes=10)
"""A DAG that is not read again for so long will not be: its file fails, or is gone."""


def import_errors() -> dict[str, str]:
    """Return the DAG files of the release that cannot be imported: name -> last line of the reason.

    Raises:
        SQLAlchemyError: if the database does not answer.

    """
    with create_session() as session:
        return _import_errors(session)


def observe(watch: Health, now: datetime) -> Observation:
    """Return the signs of a release that is watched. A database that does not answer is one of them."""
    try:
        with create_session() as session:
            known = watch.known_errors or ()
            errors = {file: why for file, why in _import_errors(session).items() if file not in known}
            return Observation(
                now=_record(session, watch, now, new=True),
                before=_record(session, watch, now, new=False),
                import_errors=errors,
                parsed=now - watch.since > _PARSED_AT_LAST or not _unread(session, watch.since),
                ill=tuple(_silent(session, now)),
            )
    except SQLAlchemyError as error:
        return Observation(parsed=False, ill=(f"database: {str(error).strip().splitlines()[0]}",))


def _import_errors(session: Session) -> dict[str, str]:
    query = select(ParseImportError.filename, ParseImportError.stacktrace)
    rows = session.execute(query.where(ParseImportError.bundle_name == BUNDLE).limit(_MOST))
    return {name or "": (trace or "").strip().rpartition("\n")[2] for name, trace in rows}


def _unread(session: Session, since: datetime) -> bool:
    query = select(DagModel.dag_id).where(DagModel.bundle_name == BUNDLE, ~DagModel.is_stale)
    return session.execute(query.where(DagModel.last_parsed_time < since).limit(1)).first() is not None


def _silent(session: Session, now: datetime) -> Iterable[str]:
    """Yield the processes that do not report any more."""
    for kind, name in (("SchedulerJob", "scheduler"), ("TriggererJob", "triggerer")):
        query = select(Job.latest_heartbeat).where(Job.job_type == kind)
        latest = session.execute(query.order_by(Job.latest_heartbeat.desc()).limit(1)).scalar()
        if latest is None or now - latest > _SILENT:
            shown = "never" if latest is None else f"{(now - latest).total_seconds():.0f} s ago"
            yield f"{name}: reported last {shown}"


def _record(session: Session, watch: Health, now: datetime, *, new: bool) -> Record:
    # A run keeps the release that it began with, so failures that are older than the switch are the other's.
    if new:
        ours = and_(DagRun.start_date >= watch.since, DagRun.bundle_version.in_(watch.releases))
    else:
        ours = and_(DagRun.end_date >= watch.since - _BEFORE, DagRun.bundle_version.not_in(watch.releases))
    # A shadow that fails is no fault of the release beside which it runs.
    others = DagModel.dag_id.not_in((VERIFY, SHADOW))
    active = and_(DagModel.bundle_name == BUNDLE, ~DagModel.is_paused, others)
    ran = select(DagRun.dag_id, DagRun.state).join(DagModel, DagModel.dag_id == DagRun.dag_id)
    runs = session.execute(ran.where(active, ours, DagRun.state.in_(_ENDED)).limit(_MOST)).all()
    attempts = [
        row for kind in (TaskInstance, TaskInstanceHistory) for row in _attempts(session, kind, active, ours)
    ]
    missed = select(Deadline.id).join(DagRun, DagRun.id == Deadline.dagrun_id)
    missed = missed.join(DagModel, DagModel.dag_id == DagRun.dag_id)
    late = len(
        session.execute(missed.where(active, ours, Deadline.missed, Deadline.deadline_time <= now)).all()
    )
    return Record(
        runs=_tallies((dag, str(state)) for dag, state in runs),
        attempts=_tallies((f"{dag}.{task}", str(state)) for dag, task, state in attempts),
        late=Tally(late, max(late, len(runs))),
        scoring=_scoring(session, ours),
    )


def _attempts(session: Session, kind: Any, active: Any, ours: Any) -> list[tuple[str, str, str]]:
    query = select(kind.dag_id, kind.task_id, kind.state)
    query = query.join(DagRun, and_(DagRun.dag_id == kind.dag_id, DagRun.run_id == kind.run_id))
    query = query.join(DagModel, DagModel.dag_id == kind.dag_id)
    rows = session.execute(query.where(active, ours, kind.state.in_(_ENDED)).limit(_MOST))
    return [(dag, task, str(state)) for dag, task, state in rows]


def _tallies(rows: Iterable[tuple[str, str]]) -> Mapping[str, Tally]:
    ended: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for name, state in rows:
        ended[name] += 1
        failed[name] += state == "failed"
    return {name: Tally(failed[name], count) for name, count in ended.items()}


def _scoring(session: Session, ours: Any) -> Scoring:
    """Sum up the batches that were scored in one piece; earlier releases did not count their quarantine."""
    # Batches of a canary show its speed, not that of the release.
    extras = cast("InstrumentedAttribute[Any]", AssetEvent.extra)  # pyright: ignore[reportUnknownMemberType]
    query = (
        select(extras, TaskInstance.start_date, TaskInstance.end_date, DagRun.bundle_version)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        .join(
            TaskInstance,
            and_(
                TaskInstance.dag_id == AssetEvent.source_dag_id,
                TaskInstance.task_id == AssetEvent.source_task_id,
                TaskInstance.run_id == AssetEvent.source_run_id,
                TaskInstance.map_index == AssetEvent.source_map_index,
            ),
        )
        .join(DagRun, and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id))
        .where(AssetModel.name == _SCORES, ours)
        .order_by(AssetEvent.timestamp.desc())
        .limit(_MOST)
    )
    images = quarantined = 0
    seconds = 0.0
    for extra, start, end, version in session.execute(query):
        content = parse.mapping(extra)
        rows, bad = (json_values.number(content.get(key)) or 0 for key in ("rows", "quarantined"))
        scored_by = content.get("release")
        if scored_by is not None and version is not None and scored_by != version:
            continue
        if content.get("whole") is False or start is None or end is None or rows + bad < 1:
            continue
        images += int(rows)
        quarantined += int(bad)
        seconds += (end - start).total_seconds()
    return Scoring(images, seconds, quarantined)
