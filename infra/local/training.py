"""A run of the training pipeline of an environment: start it, or find it, and follow it to its end."""

import time
from collections.abc import Callable

from rich.console import RenderableType
from rich.table import Table

from gitops.airflow import Access, Run
from gitops.errors import AirflowError
from infra.local import files, patience
from infra.local.errors import EngineError
from infra.local.layout import Place
from infra.local.screen import Step, duration
from infra.local.task import ENDED, Runs, Task

DAG = "ml_pipeline_face_attributes"
PAUSE = 2.0  # seconds between two looks at a run
SCHEDULE_DELAY = 8.0  # seconds in which the scheduler adds the run that is due

_SIGNS = {
    "success": ("✓", "green"),
    "failed": ("✗", "red"),
    "upstream_failed": ("✗", "red"),
    "running": ("▶", "cyan"),
    "up_for_retry": ("↻", "yellow"),
    "skipped": ("-", "dim"),
}


class Training:
    """The training pipeline of one environment."""

    def __init__(
        self, access: Access, place: Place, *, active: bool, require: Callable[[], None] = lambda: None
    ) -> None:
        """`active`: the pipeline may start by itself, by schedule. `require` raises when it is not up."""
        self._airflow = Runs(access, timeout=30)
        self._place = place
        self._active = active
        self._require = require
        self._marker = place.root / "training.json"

    def await_dag(self, seconds: float = 180) -> None:
        """Return when the environment knows the pipeline.

        :raises EngineError: when it does not in time, with the reason.
        """

        def known() -> bool:
            return any(dag["dag_id"] == DAG for dag in self._airflow.dags())

        if patience.until(known, seconds=seconds, pause=2):
            return
        here = self._place.environment
        for name, trace in self._airflow.import_errors().items():
            raise EngineError(f"{here}: {name} does not load: {trace.strip().splitlines()[-1]}")
        log = self._place.logs / "dag-processor.log"
        raise EngineError(f"{here}: has no DAG {DAG} after {seconds:.0f} s; see {log}")

    def in_flight(self) -> Run | None:
        """Return the run that has not ended; of several, the oldest."""
        runs = self._airflow.runs(DAG, limit=25)
        return next((run for run in reversed(runs) if run.state not in ENDED), None)

    def last(self) -> Run | None:
        """Return the latest run."""
        return next(iter(self._airflow.runs(DAG)), None)

    def start(self) -> str:
        """Start a run and return its id.

        Airflow starts no run of a paused DAG. Once it is not paused any more, its schedule may add a run by
        itself; that one then is as good as another.
        """
        self._let_start()
        scheduled = patience.until(self.in_flight, seconds=SCHEDULE_DELAY, pause=1)
        return scheduled.id if scheduled else self._airflow.trigger(DAG)

    def follow(self, run: str, step: Step, *, seconds: float) -> None:
        """Show the run until its end; then pause the pipeline, unless it may start by itself.

        :raises EngineError: when the run fails, naming the task, or is not over after `seconds`.
        """
        self._let_start()
        deadline = time.monotonic() + seconds
        said: dict[str, str] = {}
        while True:
            self._require()
            state, tasks = self._look(run)
            _announce(tasks, said, step)
            step.show(_table(tasks))
            if state in ENDED:
                break
            if time.monotonic() > deadline:
                raise EngineError(
                    f"{run} is not over after {duration(seconds)}, and goes on; make up follows it again"
                )
            time.sleep(PAUSE)
        self.settle()
        if not self._active:
            self._withdraw_others(run)
        if state == "failed":
            raise EngineError(f"{self._place.environment}: {self._airflow.failure(DAG, run, self._place)}")

    def settle(self) -> None:
        """Pause the pipeline again, if a command let it start by itself in order to follow it."""
        if not self._marker.exists():
            return
        if not self._active:
            self._airflow.pause(DAG, True)
        self._marker.unlink()

    def _let_start(self) -> None:
        files.write_json(self._marker, {"unpaused": DAG})
        self._airflow.unpause(DAG)

    def _look(self, run: str) -> tuple[str, list[Task]]:
        """Ask for the run; an Airflow that is busy for a moment is asked again."""
        trouble: list[AirflowError] = []

        def answer() -> tuple[str, list[Task]] | None:
            try:
                return self._airflow.run(DAG, run).state, self._airflow.tasks(DAG, run)
            except AirflowError as error:
                trouble.append(error)
                return None

        found = patience.until(answer, seconds=60, pause=3)
        if found is None:
            raise trouble[-1]
        return found

    def _withdraw_others(self, run: str) -> None:
        """Take back what the schedule added before the pipeline was paused again."""
        for other in self._airflow.runs(DAG, limit=5):
            if other.id != run and other.id.startswith("scheduled__") and other.state not in ENDED:
                self._airflow.withdraw(DAG, other.id)


def _announce(tasks: list[Task], said: dict[str, str], step: Step) -> None:
    """Print a line for each task that has started or ended since the last time."""
    for task in tasks:
        before = said.get(task.name)
        if before == task.state or task.state not in _SIGNS:
            continue
        said[task.name] = task.state
        if task.state == "running" and before is None and step.lively:
            continue  # the table shows it
        took = f"  ({duration(task.seconds)})" if task.seconds is not None and task.state in ENDED else ""
        again = f", attempt {task.attempt}" if task.attempt > 1 else ""
        step.say(f"{_SIGNS[task.state][0]} {task.name}: {task.state}{again}{took}")


def _table(tasks: list[Task]) -> RenderableType:
    """What is at work and what still waits; what has ended stands above, as lines."""
    table = Table.grid(padding=(0, 2))
    for task in tasks:
        if task.state in ENDED:
            continue
        sign, style = _SIGNS.get(task.state, ("·", "dim"))
        elapsed = duration(task.seconds) if task.seconds is not None else ""
        table.add_row(f"    [{style}]{sign} {task.name}[/]", f"[{style}]{task.state}[/]", elapsed)
    return table
