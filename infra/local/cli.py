"""The command line of the local engine; `make up`, `make down` and `make clean` call it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from rich.console import Console

from gitops.text.command_line import Group
from infra.local import backup as backups
from infra.local import drill as drills
from infra.local import engine as engines
from infra.local.engine import Engine
from infra.local.errors import EngineError
from infra.local.lock import exclusive
from infra.local.process import UMASK
from infra.local.screen import Screen, start_title
from infra.local.variables import Address
from infra.preview.local import LocalHost

CHECKOUT = Path(__file__).resolve().parents[2]
_CHECK, _PORTS, _COMPARE = "Check this machine", "Choose ports", "Compare running releases with main"


class _Group(Group):
    program = ".venv/bin/python -m infra.local"
    expected = (EngineError,)
    actions: ClassVar = {
        "": "run the local engine",
        "up": "start the environments",
        "demo-drift": "play the drift",
        "down": "stop the environments",
        "clean": "delete the environments",
        "backup": "save the environments",
        "restore": "restore the environments",
        "drill": "try the backup",
        "status": "show the status",
        "airflow": "run a command of Airflow",
    }
    following: ClassVar = {
        "up": "make up",
        "demo-drift": "make demo-drift",
        "down": "make down",
        "clean": "make clean",
        "status": "make status",
        "airflow": "make status",
    }


app = typer.Typer(
    cls=_Group,
    name="python -m infra.local",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run the Airflows of the environments as processes on this machine. All their files are in .visage.",
)


@app.command()
def up(
    minutes: Annotated[
        int, typer.Option(min=1, metavar="MINUTES", help="Maximum duration of a training run.")
    ] = 360,
    first_run: Annotated[
        bool,
        typer.Option(
            help="Train a first model and promote it through all environments, unless that was done."
        ),
    ] = True,
) -> None:
    """Start the environments, and take a model from raw images to the last environment.

    By default, the first three environments start. To choose others, set VISAGE_ENVIRONMENTS in the shell or
    in .env (names separated by commas). Running environments stay up. Completed steps are skipped, so running
    the command again continues after an interruption.
    """
    from infra.local.first_run import FirstRun

    screen = Screen(Console(highlight=False))
    with _engine(screen, "make up") as engine:
        run = FirstRun(engine, screen)
        beside = run.drawing if first_run else nullcontext
        names = engine.names
        titles = FirstRun.titles(engine.environments.root, names) if first_run else FirstRun.rest(names)
        with _up(engine, screen, "make up", titles, beside) as addresses:
            if first_run:
                run.run(seconds=minutes * 60)
            else:
                run.start_rest()
        _status(engine)
        screen.print("")
        first = next(iter(addresses.values()))
        screen.print(f"Look around:   {first.web}; users and passwords: {engine.layout.access}")
        screen.print("Try a change:  git switch -c my-change visage/main, edit params.yaml, and commit")
        screen.print("               git push visage my-change && .venv/bin/gitops train my-change --wait")
        screen.print("See, stop:     make status, make down")


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("demo-drift")
def demo_drift(
    minutes: Annotated[
        int, typer.Option(min=1, metavar="MINUTES", help="Maximum duration of a training run.")
    ] = 360,
    yes: Yes = False,
) -> None:
    """Simulate drift in the last environment: alarm, retraining, promotion, all clear.

    The command starts with the steps of `up`. It draws faces in different light and files their scores under
    the days of a week. Everything else is real, including a full training of some minutes. The command asks
    for confirmation before it begins; without a terminal, pass --yes.
    """
    from gitops.release.load import load_state
    from infra.local import demo as demos
    from infra.local.demo import Demo

    screen = Screen(Console(highlight=False))
    with _engine(screen, "make demo-drift") as engine:
        demos.require_unplayed(engine)
        if engine.origin.has_model():
            demos.require_no_holds(load_state(engine.origin.repository), engine.names[1:])
        for line in demos.plan(engine):
            screen.print(line)
        if not yes and not _agreed("make demo-drift"):
            screen.print("Nothing was changed.")
            raise typer.Exit(1)
        demo = Demo(engine, screen)
        titles = Demo.titles(engine.environments.root, engine.names)
        with _up(engine, screen, "make demo-drift", titles, demo.drawing) as addresses:
            demo.run(seconds=minutes * 60)
            demo.play(seconds=minutes * 60)
        _status(engine)
        last = engine.names[-1]
        record = engine.layout.paths_of(last).data / "monitoring"
        screen.print(f"Look around:   {addresses[last].web}; the checks and their reports: {record}")


@app.command()
def down() -> None:
    """Stop all processes of the engine and keep all data.

    The command first lists the DAG runs in progress. The next `up` continues them.
    """
    screen = Screen(Console(highlight=False))
    with _engine(screen, "make down") as engine:
        if not engine.layout.state.is_dir():
            screen.print("Nothing to stop.")
            return
        with exclusive(engine.layout.lock, "make down"):
            if _print_at_work(engine, screen):
                screen.print("make up continues these runs: an interrupted task starts again.")
            _stop(engine, screen)


@app.command()
def clean(yes: Yes = False) -> None:
    """Stop all processes of the engine, and remove .visage and the git remote visage.

    The command asks for confirmation, because the data in .visage has no other copy. Without a terminal,
    pass --yes.
    """
    screen = Screen(Console(highlight=False))
    with _engine(screen, "make clean") as engine:
        if engine.layout.state.is_dir() and _print_at_work(engine, screen):
            screen.print("These runs and their results so far will be lost.")
        if engine.layout.state.is_dir() and not yes:
            screen.print(f"This stops everything and deletes {engine.layout.state}: the git repository that")
            screen.print(
                "visage points to, with everything that was merged there, all models, photographs and scores."
            )
            if not _agreed("make clean"):
                screen.print("Nothing was changed.")
                raise typer.Exit(1)
        if engine.layout.state.is_dir():
            with exclusive(engine.layout.lock, "make clean"):
                _stop(engine, screen)
                removed = engine.remove()
        else:
            removed = engine.remove()
        screen.print(f"Removed: {', '.join(removed)}" if removed else "Nothing to remove.")


Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a backup.")]


@app.command("backup")
def save(folder: Folder) -> None:
    """Save git, the DVC remote, and database, keys and data of each environment, into a new folder.

    The environments may be up. The folder has keys and photographs: keep it where nobody else can read it.
    """
    screen = Screen(Console(highlight=False))
    with (
        _engine(screen, "make up") as engine,
        exclusive(engine.layout.lock, "backup"),
        screen.step("Save") as step,
    ):
        backups.save(engine.layout, folder)
        step.done(str(folder))


@app.command()
def restore(folder: Folder) -> None:
    """Put back the parts that are not there: git, DVC remote, databases, keys, data. Then run make up.

    To get a part from the backup although it is there, move it out of .visage first. Run make down before.
    """
    screen = Screen(Console(highlight=False))
    with (
        _engine(screen, "make up") as engine,
        exclusive(engine.layout.lock, "restore"),
        screen.step("Restore") as step,
    ):
        restored = backups.restore(folder, engine.layout)
        step.done(f"{', '.join(restored)}; run make up")


@app.command()
def drill(folder: Folder) -> None:
    """Restore a backup into a scratch folder, check every part of it there, and write .visage/drill.json.

    Exits with 1 if a part is not whole. Nothing that runs here is touched.
    """
    screen = Screen(Console(highlight=False))
    with _engine(screen, "make up") as engine:
        result = drills.drill(folder, engine.layout.drill)
        for part in result.parts:
            screen.print(f"{part.name}: {part.text}", *([] if part.ok else ["red"]))
        if not result.ok:
            raise EngineError(f"{folder}: cannot be restored whole; save another one")
        screen.print(f"{folder}: restored and whole, in {result.seconds:,.0f} s")


@app.command()
def status() -> None:
    """Show the release of each environment, and each process that ended since make up.

    Exits with 1 if an environment does not run its declared release, or a process is down.
    """
    screen = Screen(Console(highlight=False))
    with _engine(screen, "make status") as engine:
        shown = _status(engine)
        for line in engine.ended():
            screen.print(line, style="yellow")
        saved = engine.schedule.last()
        if saved is not None:
            fault = next((f"{part.name}: {part.text}" for part in saved.parts if not part.ok), "")
            state = f"not whole; {fault}" if fault else "restored and whole"
            screen.print(f"Weekly backup of {saved.at}: {saved.backup}: {state}", "yellow" if fault else "")
        raise typer.Exit(shown or int(engine.is_incomplete() or (saved is not None and not saved.ok)))


@app.command(context_settings={"allow_interspersed_args": False})
def airflow(
    environment: Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="A running environment.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="Example: dags list")],
) -> None:
    """Run a command of Airflow's command line in a running environment.

    All arguments after ENVIRONMENT are passed to Airflow, including --help. Example:
    airflow dev dags trigger --help
    """
    with _engine(Screen(Console(highlight=False, stderr=True)), "make up") as engine:
        variables = engine.variables_of(environment)
    program = str(Path(sys.executable).with_name("airflow"))
    os.execve(program, [program, *command], variables)  # noqa: S606 (no shell is wanted)


@contextmanager
def _engine(screen: Screen, command: str) -> Iterator[Engine]:
    """Yield the engine. After an interruption, print how to continue."""
    os.umask(UMASK)
    # SIGTERM and SIGHUP end this command in the same orderly way as Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        yield engines.of(CHECKOUT)
    except KeyboardInterrupt:
        screen.print(
            f"Interrupted. Processes keep running. {command} continues from here; make down stops them.",
            "yellow",
        )
        raise typer.Exit(130) from None


def plan(names: Sequence[str], titles: Sequence[str]) -> list[str]:
    """Return the titles of all steps of `make up`, in order.

    Args:
        names: The started environments.
        titles: Those of the steps while they run.

    """
    origin = "Prepare origin (git remote visage) and the DVC remote"
    return [_CHECK, _PORTS, origin, start_title(names[:1]), *titles, _COMPARE]


@contextmanager
def _up(
    engine: Engine,
    screen: Screen,
    name: str,
    titles: Sequence[str],
    beside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Mapping[str, Address]]:
    """Start the first environment, run the block, and wait until each runs its declared release.

    The block starts the other environments.

    Args:
        engine: The engine.
        screen: Where to print.
        name: The command, for the lock.
        titles: The titles of the steps in the block.
        beside: Makes a context in which the first environment starts.

    """
    from infra.local.first_run import FirstRun

    _, _, origin, start, *_ = steps = plan(engine.names, titles)
    screen.plan(steps, FirstRun.usual(engine.environments.root, engine.names))
    with screen.step(_CHECK) as step:
        engine.check(step)
    with exclusive(engine.layout.lock, name):
        with screen.step(_PORTS) as step:
            addresses = engine.addresses()
            step.done(
                ", ".join(f"{environment} {address.port}" for environment, address in addresses.items())
            )
        with screen.step(origin) as step:
            engine.prepare_origin(step)
        with beside(), screen.step(start) as step:
            engine.prepare(addresses, step)
            engine.start(engine.names[:1], step)
            LocalHost(engine.layout, engine.shell).provide()
        yield addresses
        with screen.step(_COMPARE) as step:
            engine.await_agreement(step)


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _agreed(command: str) -> bool:
    """Ask whether to continue; any answer but yes means no.

    Raises:
        EngineError: There is no terminal.

    """
    if not _terminal():
        raise EngineError(
            "nothing was changed: there is no terminal to ask for confirmation",
            command=f"{command} YES=1",
        )
    try:
        return typer.confirm("Continue?", default=False)
    except typer.Abort:
        return False


def _print_at_work(engine: Engine, screen: Screen) -> bool:
    """Print the runs that a stop interrupts. Return whether there are any, or may be."""
    lines = engine.at_work()
    for line in lines:
        screen.print(f"In progress: {line}", style="yellow")
    return bool(lines)


def _stop(engine: Engine, screen: Screen) -> None:
    with screen.step("Stop everything") as step:
        stopped = [*LocalHost(engine.layout, engine.shell).stop(step), *engine.stop(step)]
        step.done(f"{len(stopped)} processes" if stopped else "no process was running")
        for name in stopped:
            step.say(name)


def _status(engine: Engine) -> int:
    """Run `gitops status`. Return 1 if an environment does not run its declared release."""
    shown = subprocess.run(
        [sys.executable, "-m", "gitops", "status"],
        cwd=engine.layout.checkout,
        # Without a terminal, the table would be cut to 80 columns.
        env={**os.environ, **({} if sys.stdout.isatty() else {"COLUMNS": "140"})},
        timeout=300,
        check=False,
    )
    return shown.returncode
