"""A run of the training pipeline: start it for a branch, follow it to its end, and report its result."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from gitops.airflow.client import ENDED, Airflow, Run, Task
from gitops.errors import AirflowError, TrainingError
from gitops.training.candidate import run_branch

DAG = "ml_pipeline_face_attributes"
GATES = "model_evaluation.gates"

PAUSE = 2.0
"""Seconds between two looks at a run."""
SCHEDULE_DELAY = 8.0
"""Seconds in which the scheduler adds the run that is due once a DAG is no longer paused."""
HEARTBEAT = 15.0
"""Seconds after which a line reports again that a task still runs."""
_PATIENCE = 60.0
_UNPAUSED = ".venv/bin/gitops train unpaused the DAG for this run and pauses it again after it."

# The name that Python gives to the error of a stopped task
_EXCEPTION = re.compile(r"[A-Za-z_.]*(?:Exception|Error): ")

SIGNS = {
    "success": ("✓", "green"),
    "failed": ("✗", "red"),
    "upstream_failed": ("✗", "red"),
    "running": ("▶", "cyan"),
    "up_for_retry": ("↻", "yellow"),
    "skipped": ("-", "dim"),
}


@dataclass(frozen=True)
class Started:
    """A run that was started, or found under way.

    Attributes:
        run: The id of the run.
        under_way: Whether the run was already running.
        unpaused: Whether the DAG was unpaused for it, so that it has to be paused again.

    """

    run: str
    under_way: bool
    unpaused: bool


def duration(seconds: float) -> str:
    """Return a span of time as people write it."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def start(
    airflow: Airflow,
    branch: str,
    commit: str,
    profile: str,
    *,
    environment: str,
    unpause: bool,
    echo: Callable[[str], None],
) -> Started:
    """Start a run for a branch, or find the one that is under way for it.

    Args:
        airflow: The Airflow of the environment that trains.
        branch: The branch to train from.
        commit: The commit that the branch names now; a run that started from another is none of this branch.
        profile: `full` or `small`.
        environment: The name of that environment.
        unpause: Unpause the DAG where it is paused; whoever follows the run pauses it again.
        echo: Prints a line for the person who waits.

    Raises:
        TrainingError: The environment does not have the DAG, or it is paused and may not be unpaused.
        AirflowError: Airflow does not answer, or refuses.

    """
    paused = _is_paused(airflow, environment)
    conf = {"ref": branch, "profile": profile}
    runs = airflow.runs(DAG, limit=25)
    under_way = next((run for run in runs if _is_for(airflow, run, conf, commit)), None)
    if paused and not unpause:
        raise TrainingError(
            f"{DAG} is paused in {environment}, and a run of a paused DAG does not start. Add --wait: that "
            "unpauses the DAG for this run, and pauses it again at its end"
        )
    run = under_way.id if under_way else airflow.trigger(DAG, conf)
    verb = "Found" if under_way else "Started"
    echo(f"{verb} {run} of {DAG} in {environment}, for {branch} at profile {profile}")
    if not paused:
        return Started(run, under_way is not None, under_way is not None and under_way.note == _UNPAUSED)
    echo(f"{DAG} is paused in {environment}: unpaused for this run, and paused again at its end")
    airflow.annotate(DAG, run, _UNPAUSED)
    before = {known.id for known in runs}
    airflow.unpause(DAG)
    deadline = time.monotonic() + SCHEDULE_DELAY
    while time.monotonic() < deadline:
        missed = next(
            (scheduled.id for scheduled in airflow.runs(DAG, limit=5) if _missed(scheduled, before)), None
        )
        if missed:
            # One run at a time: it would go first. Deleted, it would be added again.
            airflow.settle(DAG, missed)
            echo(f"Ended {missed}, the daily training of main that unpausing had started")
            break
        time.sleep(min(1.0, SCHEDULE_DELAY))
    return Started(run, under_way is not None, True)


def follow(
    airflow: Airflow,
    run: str,
    *,
    seconds: float,
    show: Callable[[list[Task]], None],
    require: Callable[[], None] = lambda: None,
) -> str | None:
    """Follow a run and return the state in which it ended, or None when it is not over after `seconds`.

    Args:
        airflow: Where the run is. While it is busy for a moment it is asked again.
        run: The run's id.
        seconds: How long to wait.
        show: Gets the tasks at each look.
        require: Raises where nothing can come of it any more.

    Raises:
        AirflowError: Airflow does not answer for a minute.

    """
    deadline = time.monotonic() + seconds
    while True:
        require()
        state, tasks = _look(airflow, run)
        show(tasks)
        if state in ENDED:
            return state
        if time.monotonic() > deadline:
            return None
        time.sleep(PAUSE)


def settle(airflow: Airflow, run: str) -> None:
    """Pause the DAG again after a run, and take back the runs that its schedule added meanwhile."""
    airflow.pause(DAG, True)
    withdraw_others(airflow, run)


def withdraw_others(airflow: Airflow, run: str) -> None:
    """Delete the runs that the schedule added and that have not ended."""
    for scheduled in airflow.runs(DAG, limit=5):
        if scheduled.id != run and scheduled.id.startswith("scheduled__") and scheduled.state not in ENDED:
            airflow.withdraw(DAG, scheduled.id)


def failure(airflow: Airflow, run: str, web: str) -> str:
    """Return which task made a run fail, the reason, and where its log is.

    Args:
        airflow: Where the run is.
        run: The run's id.
        web: The address of Airflow's web interface.

    """
    failed = next((task for task in airflow.tasks(DAG, run) if task.state == "failed"), None)
    if failed is None:
        return f"{run} failed, though none of its tasks did; look at it: {web}/dags/{DAG}/runs/{run}"
    lines = airflow.log(DAG, run, failed)
    reason = next((line for line in reversed(lines) if _EXCEPTION.match(line)), lines[-1] if lines else "")
    where = f"its log: {web}/dags/{DAG}/runs/{run}/tasks/{failed.id}"
    if failed.id == GATES:
        table = [line for line in lines if line.startswith("|")]
        compare = f"compare: .venv/bin/gitops report --head {run_branch(run)}"
        shown = "".join(f"\n    {line}" for line in table)
        return f"The gates refused the model: {_EXCEPTION.sub('', reason)}; {compare}; {where}{shown}"
    return f"{run} failed in {failed.name}: {reason}; {where}"


class Progress:
    """Reports each task as it starts and ends, and from time to time that it still runs."""

    def __init__(self, echo: Callable[[str], None], *, starts: bool = True) -> None:
        """Print with `echo`; without `starts`, not that a task has started or goes on."""
        self._echo = echo
        self._starts = starts
        self._said: dict[str, str] = {}
        self._at = time.monotonic()

    def __call__(self, tasks: list[Task]) -> None:
        for task in tasks:
            before = self._said.get(task.name)
            if before == task.state or task.state not in SIGNS:
                continue
            self._said[task.name] = task.state
            if task.state == "running" and before is None and not self._starts:
                continue
            took = f"  ({duration(task.seconds)})" if task.seconds is not None and task.state in ENDED else ""
            again = f", attempt {task.attempt}" if task.attempt > 1 else ""
            self._report(f"{SIGNS[task.state][0]} {task.name}: {task.state}{again}{took}")
        if self._starts and time.monotonic() - self._at > HEARTBEAT:
            for task in tasks:
                if task.state == "running" and task.seconds is not None:
                    self._report(f"… {task.name}: running for {duration(task.seconds)}")
            self._at = time.monotonic()

    def _report(self, line: str) -> None:
        self._at = time.monotonic()
        self._echo(line)


def _look(airflow: Airflow, run: str) -> tuple[str, list[Task]]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return airflow.run(DAG, run).state, airflow.tasks(DAG, run)
        except AirflowError:
            if time.monotonic() > deadline:
                raise
            time.sleep(min(3.0, _PATIENCE))


def _is_paused(airflow: Airflow, environment: str) -> bool:
    training_dag = next((dag for dag in airflow.dags() if dag["dag_id"] == DAG), None)
    if training_dag is None:
        errors = airflow.import_errors().items()
        faults = [f"{name}: {trace.strip().splitlines()[-1]}" for name, trace in errors]
        missing = f"{environment} has no DAG {DAG}; see .venv/bin/gitops status"
        raise TrainingError("; ".join([missing, *faults]))
    return bool(training_dag["is_paused"])


def _is_for(airflow: Airflow, run: Run, conf: dict[str, str], commit: str) -> bool:
    if run.state in ENDED or {"ref": "main", "profile": "full", **run.conf} != conf:
        return False
    # Without an answer it has not looked at the branch yet, and will find this commit there.
    return airflow.result(DAG, run.id, "check_environment", "base") in (None, commit)


def _missed(run: Run, before: set[str]) -> bool:
    return run.id.startswith("scheduled__") and run.id not in before and run.state not in ENDED
