"""The command line of the local engine; `make up`, `make down` and `make clean` call it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gitops.errors import GitopsError
from infra.local import engine as engines
from infra.local.engine import Engine
from infra.local.errors import EngineError
from infra.local.lock import alone
from infra.local.process import UMASK
from infra.local.screen import Screen, listed
from infra.local.variables import Address

CHECKOUT = Path(__file__).resolve().parents[2]

app = typer.Typer(
    name="python -m infra.local",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The environments' Airflows as processes on this machine. Their files are all in .visage.",
)


@app.command()
def up(
    minutes: Annotated[
        int, typer.Option(min=1, metavar="MINUTES", help="How long a training run may take.")
    ] = 360,
    first_run: Annotated[
        bool, typer.Option(help="Take a model through all of them, where that has not been done.")
    ] = True,
) -> None:
    """Start the environments, and take a model from raw images to the last of them.

    They are the first three, or those of VISAGE_ENVIRONMENTS in the shell or in .env (names with commas
    between). Running environments stay up. Every step that has been done is left out, so that running it
    again continues whatever was interrupted.
    """
    from infra.local.first_run import FirstRun

    screen = Screen(Console(highlight=False))
    with _engine(screen, "make up") as engine:
        with _up(engine, screen, "make up") as addresses:
            if first_run:
                FirstRun(engine, screen).run(seconds=minutes * 60)
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
        int, typer.Option(min=1, metavar="MINUTES", help="How long a training run may take.")
    ] = 360,
    yes: Yes = False,
) -> None:
    """Play drift in the last environment and the way out of it: alarm, retraining, promotion, all clear.

    First it does what up does. Faces are drawn in another light, and scores are filed under the days of a
    week; the rest is the real thing, with a full training of some minutes. It asks before it begins; where
    there is no terminal to ask on, it begins with --yes alone.
    """
    from infra.local import demo as demos
    from infra.local.demo import Demo

    screen = Screen(Console(highlight=False))
    with _engine(screen, "make demo-drift") as engine:
        demos.require_unplayed(engine)
        for line in demos.plan(engine):
            screen.print(line)
        if not yes and not _agreed("make demo-drift"):
            screen.print("Nothing was changed.")
            raise typer.Exit(1)
        with _up(engine, screen, "make demo-drift") as addresses:
            demo = Demo(engine, screen)
            demo.run(seconds=minutes * 60)
            demo.play(seconds=minutes * 60)
        _status(engine)
        last = engine.names[-1]
        record = engine.layout.place(last).data / "monitoring"
        screen.print(f"Look around:   {addresses[last].web}; the checks and their reports: {record}")


@app.command()
def down() -> None:
    """Stop everything that was started; what was made stays.

    Runs that are at work are named first: the next up goes on with them.
    """
    screen = Screen(Console(highlight=False))
    with _engine(screen, "make down") as engine:
        if not engine.layout.state.is_dir():
            screen.print("Nothing to stop.")
            return
        with alone(engine.layout.lock, "make down"):
            if _tell_at_work(engine, screen):
                screen.print("make up goes on with these runs: a task that is cut off starts again.")
            _stop(engine, screen)


@app.command()
def clean(yes: Yes = False) -> None:
    """Stop everything, and remove .visage and the git remote visage; nothing else.

    It asks first, because what is in .visage is nowhere else. Where there is no terminal to ask on, it
    removes with --yes alone.
    """
    screen = Screen(Console(highlight=False))
    with _engine(screen, "make clean") as engine:
        if engine.layout.state.is_dir() and _tell_at_work(engine, screen):
            screen.print("These runs are lost, with what they have made so far.")
        if engine.layout.state.is_dir() and not yes:
            screen.print(f"This stops everything and deletes {engine.layout.state}: the git repository that")
            screen.print("visage names, with whatever was merged there, all models, photographs and scores.")
            if not _agreed("make clean"):
                screen.print("Nothing was changed.")
                raise typer.Exit(1)
        if engine.layout.state.is_dir():
            with alone(engine.layout.lock, "make clean"):
                _stop(engine, screen)
                removed = engine.remove()
        else:
            removed = engine.remove()
        screen.print(f"Removed: {', '.join(removed)}" if removed else "Nothing to remove.")


@app.command()
def status() -> None:
    """Show what runs where (the same as gitops status)."""
    screen = Screen(Console(highlight=False))
    with _engine(screen, "make status") as engine:
        raise typer.Exit(_status(engine))


@app.command(context_settings={"allow_interspersed_args": False})
def airflow(
    environment: Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="One that is up.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="For instance: dags list")],
) -> None:
    """Run a command of Airflow's own command line in an environment that is up.

    Whatever follows ENVIRONMENT is Airflow's, --help too, as in: airflow dev dags trigger --help
    """
    with _engine(Screen(Console(highlight=False, stderr=True)), "make up") as engine:
        variables = engine.variables_of(environment)
    program = str(Path(sys.executable).with_name("airflow"))
    os.execve(program, [program, *command], variables)  # noqa: S606 (no shell is wanted)


@contextmanager
def _engine(screen: Screen, command: str) -> Iterator[Engine]:
    """Turn what a user can meet into one line and an exit status."""
    os.umask(UMASK)
    # Whoever ends this command otherwise than by Ctrl-C gets the same orderly end.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        yield engines.of(CHECKOUT)
    except (EngineError, GitopsError) as error:
        screen.print(f"error: {error}", style="red")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        screen.print(
            f"Interrupted. What runs goes on; {command} continues from here, make down stops it.", "yellow"
        )
        raise typer.Exit(130) from None


@contextmanager
def _up(engine: Engine, screen: Screen, name: str) -> Iterator[Mapping[str, Address]]:
    """Start what does not run, do the block, and wait until what runs is what main declares."""
    with screen.step("Check this machine") as step:
        engine.check(step)
    with alone(engine.layout.lock, name):
        with screen.step("Choose ports") as step:
            addresses = engine.addresses()
            step.done(", ".join(f"{one} {address.port}" for one, address in addresses.items()))
        with screen.step("Prepare origin (git remote visage) and the DVC remote") as step:
            engine.prepare_origin(step)
        with screen.step(f"Start {listed(engine.names)}") as step:
            engine.start(addresses, step)
        yield addresses
        with screen.step("Compare what runs with what main declares") as step:
            engine.await_agreement(step)


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _agreed(command: str) -> bool:
    """Ask whether to go on; anything but yes is no.

    :raises EngineError: where there is no terminal to ask on.
    """
    if not _terminal():
        raise EngineError(f"nothing was changed: there is no terminal to ask on; to go on: {command} YES=1")
    try:
        return typer.confirm("Go on?", default=False)
    except typer.Abort:
        return False


def _tell_at_work(engine: Engine, screen: Screen) -> bool:
    """Name the runs that a stop cuts off; return whether there are any, or may be."""
    lines = engine.at_work()
    for line in lines:
        screen.print(f"At work: {line}", style="yellow")
    return bool(lines)


def _stop(engine: Engine, screen: Screen) -> None:
    with screen.step("Stop everything") as step:
        stopped = engine.stop(step)
        step.done(f"{len(stopped)} processes" if stopped else "nothing ran")
        for name in stopped:
            step.say(name)


def _status(engine: Engine) -> int:
    """Show what runs where; 1 where an environment does not run what main declares."""
    shown = subprocess.run(
        [sys.executable, "-m", "gitops", "status", "--remote", "visage"],
        cwd=engine.layout.checkout,
        # Off a terminal the table would be cut to 80 columns.
        env={**os.environ, **({} if sys.stdout.isatty() else {"COLUMNS": "140"})},
        timeout=300,
        check=False,
    )
    return shown.returncode
