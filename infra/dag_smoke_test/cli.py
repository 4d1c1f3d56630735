"""The command line of the DAG smoke test. `make dags-test` calls it."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from rich.console import Console
from rich.table import Table

from gitops.release.environments import Environments
from gitops.text.command_line import Command
from infra.dag_smoke_test.plan import FIRST, OTHERS, PLANS, TRAINING, Plan, Prepare, land_model, restore
from infra.dag_smoke_test.sandbox import CommandResult, Sandbox, sandbox
from infra.local.errors import EngineError

CHECKOUT = Path(__file__).resolve().parents[2]
_LAST_LINES = 40


class _Command(Command):
    program = ".venv/bin/python -m infra.dag_smoke_test"
    actions: ClassVar = {"": "run the DAGs"}
    expected = (EngineError,)


app = typer.Typer(
    name="python -m infra.dag_smoke_test",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass(frozen=True)
class Row:
    """A run: the DAG, the environment, the expected failure if any, and the outcome."""

    dag: str
    environment: str
    fault: str | None
    result: CommandResult
    outcome: str
    good: bool


@app.command(cls=_Command)
def smoke_test(
    dag: Annotated[list[str] | None, typer.Option(help="Run only this DAG (repeatable)")] = None,
    environment: Annotated[
        list[str] | None, typer.Option(help="Run only in this environment (repeatable)")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Keep the folder of the runs")] = False,
) -> None:
    """Run each DAG under airflow dags test in each environment, normally and with an injected failure.

    The runs use the checkout as it is, including uncommitted changes, and the parameters of the profile
    small. If a run does not end as expected, the command prints the last lines of its log and exits with
    status 1.
    """
    console = Console(width=None if sys.stdout.isatty() else 110)
    known = Environments.from_folder(CHECKOUT)
    chosen = tuple(environment or known)
    if unknown := [name for name in chosen if name not in known]:
        raise EngineError(f"{', '.join(unknown)}: no such environment; there are {', '.join(known)}")
    with _folder(keep) as folder, _ending_at_signals():
        with sandbox(CHECKOUT, folder) as made:
            rows = list(_rows(made, _dags(dag), chosen, console))
        console.print(_table(rows))
        if keep:
            console.print(f"logs and all other files: {folder}", highlight=False)
        bad = [row for row in rows if not row.good]
        for row in bad:
            last = "\n".join(row.result.output.splitlines()[-_LAST_LINES:])
            console.rule(f"{row.dag} in {row.environment}: {row.outcome}")
            console.print(last, highlight=False, markup=False)
    if bad:
        raise typer.Exit(1)


def _dags(wanted: list[str] | None) -> list[str]:
    from airflow.dag_processing.dagbag import DagBag

    folder = CHECKOUT / "dags"
    sys.path.insert(0, str(folder))
    bag = DagBag(dag_folder=folder, bundle_path=folder)
    if bag.import_errors:
        raise EngineError("\n".join(f"{name}: {error}" for name, error in bag.import_errors.items()))
    if unknown := set(wanted or ()) - set(bag.dags):
        raise EngineError(f"{', '.join(unknown)}: no such DAG; there are {', '.join(sorted(bag.dags))}")
    return sorted(wanted or bag.dags, key=lambda name: (name not in FIRST, name))


def _rows(made: Sandbox, dags: list[str], environments: tuple[str, ...], console: Console) -> Iterator[Row]:
    others = [name for name in dags if name != TRAINING]
    if TRAINING in dags:
        for environment in environments:
            yield from _both(made, TRAINING, environment, console)
    else:
        yield _run(made, TRAINING, environments[0], PLANS[TRAINING].well, console)
    if not others:
        return
    model = land_model(made)
    for environment in environments:
        restore(made, model)
        for name in others:
            yield from _both(made, name, environment, console)


def _both(made: Sandbox, dag: str, environment: str, console: Console) -> Iterator[Row]:
    plan: Plan = PLANS.get(dag, OTHERS)
    yield _run(made, dag, environment, plan.well, console)
    yield _run(made, dag, environment, plan.fault, console, fails=True)


def _run(
    made: Sandbox, dag: str, environment: str, prepare: Prepare, console: Console, *, fails: bool = False
) -> Row:
    what = str(prepare.__doc__).splitlines()[0]
    prepared = prepare(made, environment)
    result = made.test(environment, dag, conf=prepared.conf, extra=prepared.extra)
    good = (result.status != 0) == fails
    try:
        outcome = f"exit status {result.status}" + (f": {text}" if (text := prepared.found(result)) else "")
    except LookupError as error:
        good, outcome = False, f"exit status {result.status}, but {error}"
    mark = "ok  " if good else "BAD "
    console.print(
        f"{mark} {dag} in {environment}, {result.seconds:.0f} s: {what} {outcome}",
        highlight=False,
        markup=False,
    )
    return Row(dag, environment, what if fails else None, result, outcome, good)


def _table(rows: list[Row]) -> Table:
    table = Table(title="All DAGs in all environments", title_justify="left")
    for column in ("DAG", "environment", "run", "outcome"):
        table.add_column(column)
    table.add_column("seconds", justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(
            row.dag,
            row.environment,
            "with a fault" if row.fault else "well",
            row.outcome,
            f"{row.result.seconds:.0f}",
            "[green]ok[/]" if row.good else "[red]BAD[/]",
        )
    table.caption = f"{len(rows)} runs, {sum(row.result.seconds for row in rows):.0f} s"
    return table


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    if keep:
        yield Path(tempfile.mkdtemp(prefix="visage-dag-smoke-test-"))
        return
    with tempfile.TemporaryDirectory(prefix="visage-dag-smoke-test-") as folder:
        yield Path(folder)


@contextmanager
def _ending_at_signals() -> Iterator[None]:
    """Let SIGTERM end the command like Ctrl-C: its processes end, and its folder is removed."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
