"""Monitoring of an environment: its input, its decisions and their record.

labels/<batch>.csv           true attributes of scored images, which arrive late
monitoring/decisions.jsonl   a line for each check
monitoring/<run>/            the results of a check: drift.json, performance.json, and the report drift.html
"""

import fcntl
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gitops import tasks
from visage_dags import alerts, records
from visage_dags.records import Drift, FirstWeeks, Line, Past, Performance

log = logging.getLogger(__name__)

TRAINING = "ml_pipeline_face_attributes"
# The name of the second reference in drift.json
FIRST_WEEKS = "first weeks"

# The check of drift takes the latest seven windows of these days: where images come daily, a week. Labels
# come days after the scores: in a week alone there would be few.
DRIFT_DAYS, LABEL_DAYS = 28, 28
# At 200 labels, the standard error of the mean accuracy is a third of a point.
LABELS = "100 to 200"
# Each has 8 MB.
REPORTS = 12
_NAMES = {alerts.DRIFT: "drift", alerts.ACCURACY: "accuracy too low"}

# Keys of a result that the line of the record has elsewhere, or leaves to the evidence.
_ELSEWHERE = {"format", "release", "model_sha256", "columns", "columns_drifted", "per_attribute", "slices"}


@dataclass(frozen=True)
class Decision:
    """Whether to train again, and the reasons; the labelled batches that wait for a training."""

    retrain: bool
    reasons: tuple[str, ...]
    batches: tuple[str, ...] = ()


def last_days(count: int, until: datetime) -> tuple[date, date]:
    """Return the first and the last of `count` whole days (UTC) that end with the day before `until` is over.

    A run that is due at midnight looks at the days before it, one in the afternoon at that day too.
    """
    last = (until - timedelta(microseconds=1)).date()
    return last - timedelta(days=count - 1), last


def evidence(home: Path, run_id: str) -> Path:
    """Return the folder with the results of a run."""
    folder = home / "monitoring" / tasks.safe_name(run_id=run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def training_run(run_id: str) -> str:
    """Return the id of the training run that a monitoring run starts. It is the same after a retry."""
    return f"monitoring__{run_id}"


def decide(
    drift: Drift,
    performance: Performance,
    trainings_in_flight: int,
    batches: Sequence[str] = (),
    earlier: str | None = None,
) -> Decision:
    """Decide from the results of the checks. A training follows only where it can learn something new.

    Args:
        drift: The result of the check of drift.
        performance: The result of the check of accuracy.
        trainings_in_flight: The number of queued or running training runs.
        batches: The labelled batches that a training would learn from first.
        earlier: A training that learned from the same release and the same batches, if there is one.

    """
    reasons = (_of_drift(drift), _of_performance(performance), *_of_unused_lists(performance))
    found = tuple(batches)
    raised = alerts.raised(drift, performance)
    if not any(raised.values()):
        return Decision(False, reasons)
    if trainings_in_flight:
        why_not = f"A run of {TRAINING} is queued or running already"
    elif drift.only_images and not raised[alerts.ACCURACY]:
        why_not = "No training: the images changed, and the answers of the model did not shift"
    elif not batches:
        why_not = "No training: no labelled batch waits that the release has not learned"
    elif earlier:
        why_not = f"No training: {earlier} learned from this release and the same labelled batches"
    else:
        return Decision(True, reasons, found)
    return Decision(False, (*reasons, why_not), found)


def same_data(record: Sequence[Past], run_id: str, release: str, profile: str, batches: Sequence[str]) -> str:
    """Return the latest training that an earlier check started on the same data, or ""."""
    return next(
        (
            line.triggered
            for line in reversed(record)
            if line.triggered
            and line.run_id != run_id
            and (line.release, line.profile, line.batches) == (release, profile, list(batches))
        ),
        "",
    )


def line_of(
    *,
    run_id: str,
    at: datetime,
    environment: str,
    decision: Decision,
    profile: str,
    triggered: str | None,
    drift: Drift,
    performance: Performance,
    record: Sequence[Past] = (),
) -> dict[str, Any]:
    """Return the line of the record for a run. It is the same after a retry.

    `record` has the lines so far, which determine the new alarms.
    """
    followed = alerts.follow(record, run_id, at, alerts.raised(drift, performance))
    moved = {name: drift.columns[name].model_dump() for name in drift.columns_drifted}
    line = Line(
        run_id=run_id,
        at=at,
        environment=environment,
        release=drift.release,
        model_sha256=drift.model_sha256,
        decision="retrain" if decision.retrain else "skip",
        reasons=list(decision.reasons),
        batches=list(decision.batches),
        triggered=triggered,
        profile=profile,
        alarm=alerts.open_alarms(followed),
        episodes=followed,
        drift={**drift.model_dump(exclude=_ELSEWHERE), "columns": moved},
        performance=performance.model_dump(exclude=_ELSEWHERE),
        evidence=f"monitoring/{tasks.safe_name(run_id=run_id)}",
    )
    return line.model_dump(mode="json")


def record(home: Path, line: dict[str, Any]) -> bool:
    """Add a line to the record. Return False if the record has the line already, as after a retry.

    Lines are never changed or removed. A cleared run with another result adds another line.
    """
    path = home / "monitoring" / "decisions.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(line, ensure_ascii=False, allow_nan=False).encode()
    with path.with_name(".decisions.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = path.read_bytes() if path.exists() else b""
        if text in before.split(b"\n"):
            return False
        if before and not before.endswith(b"\n"):
            before += b"\n"  # a truncated line of another program must not damage this line
        partial = path.with_name(".decisions.partial")
        with partial.open("wb") as file:
            file.write(before + text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    return True


def lines(home: Path) -> list[Past]:
    """Return the record, oldest check first, without damaged lines, so that they do not stop a check."""
    path = home / "monitoring" / "decisions.jsonl"
    checks = []
    for number, text in enumerate(path.read_bytes().split(b"\n") if path.exists() else [], 1):
        if not text.strip():
            continue
        try:
            checks.append(Past.model_validate_json(text))
        except ValidationError as error:
            problem = records.problem(error)
            log.warning("%s: line %d is damaged (%s) and does not count; repair it", path, number, problem)
    return checks


def drop_old_reports(home: Path) -> None:
    """Remove all but the latest HTML reports. The JSON results stay."""
    reports = sorted((home / "monitoring").glob("*/drift.html"), key=lambda path: path.stat().st_mtime)
    for report in reports[:-REPORTS]:
        report.unlink()


def message(
    line: dict[str, Any], alarm: str, *, training_is_paused: bool, runbook: str, way_back: str
) -> tuple[str, str]:
    """Return subject and body of the notice of an alarm that begins, clears, or leads to a training.

    `way_back` has the commands of a rollback, because a release may have caused a drop of accuracy.
    """
    environment, triggered = line["environment"], line["triggered"]
    episode = line["episodes"][alarm]
    name = _NAMES[alarm] + (" goes on" if episode["state"] == alerts.GOES_ON else "")
    if episode["state"] == alerts.CLEARS:
        subject = f"{name} has cleared, after it began at {episode['since']}"
    elif not triggered:
        subject = f"{name}; no retraining"
    elif training_is_paused:
        subject = f"{name}; a retraining waits, because {TRAINING} is paused"
    else:
        subject = f"{name}; a retraining has started"
    body = [
        *line["reasons"],
        "",
        f"Release {line['release'][:12]}, model {line['model_sha256'][:12]}, run {line['run_id']}.",
    ]
    if triggered:
        body.append(f"Training run {triggered} of {TRAINING}, profile {line['profile']}.")
    if triggered and training_is_paused:
        body.append(f"It starts once somebody unpauses {TRAINING} in {environment}.")
    body += [
        f"Evidence: {line['evidence']} in the environment's data folder.",
        f"Meaning and remedy: {runbook}",
    ]
    if episode["state"] != alerts.CLEARS:
        days = f"{LABELS} images of {line['drift']['since']} to {line['drift']['until']}"
        if alarm == alerts.DRIFT:
            body.append(f"Only labels show the accuracy: label {days}, in labels/<batch>.csv.")
        elif not line["batches"]:
            body.append(f"A training needs new labels: label {days}, in labels/<batch>.csv.")
        body.append("The next notice comes when it clears, or when a retraining starts.")
        if alarm == alerts.ACCURACY:
            body += ["", f"Did it begin with a release? {way_back}"]
    return subject, "\n".join(body)


def news(line: dict[str, Any]) -> list[str]:
    """Return the alarms that need a notice: they begin or clear, or go on and lead to a training."""
    states = {alerts.BEGINS, alerts.CLEARS} | ({alerts.GOES_ON} if line["triggered"] else set())
    return [name for name, episode in line["episodes"].items() if episode and episode["state"] in states]


def _of_drift(drift: Drift) -> str:
    if not drift.enough_data:
        return (
            f"Not enough data to see drift: {drift.rows:,} images of {drift.since} to {drift.until} "
            f"in {_windows(drift)} and {drift.reference_rows:,} in the reference; it takes "
            f"{drift.minimum} of both, and {drift.alarm_after} windows{_repeated(drift)}"
        )
    windows = f"{drift.rows:,} images in {_windows(drift)}"
    if not drift.drifted:
        return f"No drift in {windows}{_repeated(drift)}"
    of = drift.first_weeks if drift.first_weeks and drift.raised_by == [FIRST_WEEKS] else drift
    return f"Drift: {_moved(of, windows, len(drift.columns))}{_since(drift)}{_cost(drift)}"


def _moved(of: Drift | FirstWeeks, windows: str, count: int) -> str:
    """Return the columns that show a drift, those of the largest shift first."""
    if not of.columns_drifted and of.joint:
        return f"{windows} differ together, most of all in {', '.join(of.joint.columns[:3])}"
    most = sorted(of.columns_drifted, key=lambda name: of.columns[name].distance, reverse=True)[:3]
    return f"{len(of.columns_drifted)} of {count} columns moved in {windows}, most of all {', '.join(most)}"


def _since(drift: Drift) -> str:
    """Return a part of a sentence: which reference the images differ from, if there are two."""
    first = drift.first_weeks
    if first is None:
        return ""
    weeks = f"the first weeks ({first.since} to {first.until})"
    if drift.raised_by == [FIRST_WEEKS]:
        return f"; they differ from {weeks}, and not from the training data"
    if FIRST_WEEKS in drift.raised_by:
        return f"; they differ from the training data and from {weeks}"
    return f"; they differ from the training data, as in {weeks}"


def _cost(drift: Drift) -> str:
    """Return the end of a sentence: the kind of the drift and its probable cost, where they are known."""
    if drift.confidence_change is None:
        return ""
    verdict = "probably harmless" if drift.probably_harmless else "probably a loss of accuracy"
    points = round(100 * drift.confidence_change, 1) + 0.0  # not -0.0
    change = f"{points:+.1f} points by the confidence of the model"
    return f" ({' and '.join(drift.kinds)}; {verdict}, {change})"


def _repeated(drift: Drift) -> str:
    """Return the end of a sentence: the number of scored images that were left out as repetitions."""
    count = drift.repeated
    return f"; {count} more were scored before and count once" if count else ""


def _windows(drift: Drift) -> str:
    count = len(drift.windows)
    return f"{count} window{'s' * (count != 1)}"


def _of_unused_lists(performance: Performance) -> tuple[str, ...]:
    """Return a reason that names the first list of labels that could not be used, if there is one."""
    if not performance.left_out:
        return ()
    more = performance.label_files_left_out - 1
    others = f", and {more} more" if more else ""
    return (f"A list of late labels was left out: {performance.left_out[0]}{others}",)


def _of_performance(performance: Performance) -> str:
    if not performance.enough_labels:
        return (
            f"Not enough labels to judge accuracy: {performance.images} images of "
            f"{performance.since} to {performance.until} have one; it takes {performance.minimum}"
        )
    low, high = performance.mean_accuracy_low, performance.mean_accuracy_high
    interval = f"{performance.mean_accuracy:.2%} ({low:.2%} to {high:.2%})"
    measured = f"Accuracy {interval} on {performance.images:,} late labels"
    limits = {f"the limit is {performance.threshold:.2%}": performance.below_threshold}
    if (claimed := performance.claimed_accuracy) is not None:
        loss = f"the release had {claimed:.2%} and may lose {100 * performance.max_loss:g} points"
        limits[loss] = performance.below_release
    broken = [limit for limit, below in limits.items() if below]
    return f"{measured} is {'too low' if broken else 'high enough'}: {', and '.join(broken or limits)}"
