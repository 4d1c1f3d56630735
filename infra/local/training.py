"""A run of the training pipeline in an environment: start or find it, and follow it to its end."""

from collections.abc import Callable

from rich.console import RenderableType
from rich.table import Table

from gitops.airflow import training_runs as training_runs
from gitops.airflow.client import Access, Run
from gitops.airflow.training_runs import DAG, SIGNS, Progress, duration
from infra.local import files, waiting
from infra.local.errors import EngineError
from infra.local.layout import EnvironmentPaths
from infra.local.screen import Step
from infra.local.task import ENDED, Runs, Task


class Training:
    """The training pipeline of one environment."""

    def __init__(
        self,
        access: Access,
        paths: EnvironmentPaths,
        *,
        active: bool,
        require: Callable[[], None] = lambda: None,
    ) -> None:
        """If `active`, the schedule may start the pipeline. `require` raises if the Airflow is not up."""
        self._airflow = Runs(access, timeout=30)
        self._place = paths
        self._active = active
        self._require = require
        self._marker = paths.root / "training.json"

    def await_dag(self, seconds: float = 180) -> None:
        """Wait until the environment has loaded the pipeline.

        Raises:
            EngineError: The pipeline was not loaded in time. The message has the reason.

        """

        def known() -> bool:
            return any(dag["dag_id"] == DAG for dag in self._airflow.dags())

        if waiting.wait_until(known, seconds=seconds, pause=2):
            return
        here = self._place.environment
        for name, trace in self._airflow.import_errors().items():
            raise EngineError(f"{here}: {name} does not load: {trace.strip().splitlines()[-1]}")
        log = self._place.logs / "dag-processor.log"
        raise EngineError(f"{here}: has no DAG {DAG} after {seconds:.0f} s; see {log}")

    def in_flight(self) -> Run | None:
        """Return the oldest run in progress."""
        runs = self._airflow.runs(DAG, limit=25)
        return next((run for run in reversed(runs) if run.state not in ENDED), None)

    def last(self) -> Run | None:
        """Return the latest run, if any."""
        return next(iter(self._airflow.runs(DAG)), None)

    def start(self) -> str:
        """Start a run and return its id.

        Airflow does not start runs of a paused DAG. Once the DAG is unpaused, its schedule may add a run,
        which serves as well.
        """
        self._let_start()
        scheduled = waiting.wait_until(self.in_flight, seconds=training_runs.SCHEDULE_DELAY, pause=1)
        return scheduled.id if scheduled else self._airflow.trigger(DAG)

    def follow(
        self,
        run: str,
        step: Step,
        *,
        seconds: float,
        beside: Callable[[list[Task]], None] = lambda _: None,
    ) -> None:
        """Show the run until its end. Then pause the pipeline, unless the schedule may start it.

        Args:
            run: The id of the run.
            step: Shows the tasks.
            seconds: The longest wait.
            beside: Is called with the tasks at each look.

        Raises:
            EngineError: The run fails (the message names the task), or is still running after `seconds`.

        """
        self._let_start()
        # On a terminal, the table shows the running tasks.
        progress = Progress(step.say, starts=not step.interactive)

        def show(tasks: list[Task]) -> None:
            progress(tasks)
            step.show(_table(tasks))
            beside(tasks)

        state = training_runs.follow(self._airflow, run, seconds=seconds, show=show, require=self._require)
        if state is None:
            raise EngineError(
                f"{run} is still running after {duration(seconds)}, and continues; make up follows it"
            )
        self.settle()
        if not self._active:
            training_runs.withdraw_others(self._airflow, run)
        if state == "failed":
            raise EngineError(f"{self._place.environment}: {self._airflow.failure(DAG, run, self._place)}")

    def settle(self) -> None:
        """Pause the pipeline again if a command had unpaused it to follow a run."""
        if not self._marker.exists():
            return
        if not self._active:
            self._airflow.pause(DAG, True)
        self._marker.unlink()

    def _let_start(self) -> None:
        files.write_json(self._marker, {"unpaused": DAG})
        self._airflow.unpause(DAG)


def _table(tasks: list[Task]) -> RenderableType:
    """Return a table of running and waiting tasks. Completed tasks are printed as lines above it."""
    table = Table.grid(padding=(0, 2))
    for task in tasks:
        if task.state in ENDED:
            continue
        sign, style = SIGNS.get(task.state, ("·", "dim"))
        elapsed = duration(task.seconds) if task.seconds is not None else ""
        table.add_row(f"    [{style}]{sign} {task.name}[/]", f"[{style}]{task.state}[/]", elapsed)
    return table
