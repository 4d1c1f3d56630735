"""The options and the output streams that commands share."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gitops.cli import completion
from gitops.findings import printable
from gitops.text import instructions

if TYPE_CHECKING:
    from gitops.promotion.judgement import Judgement

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)

Remote = Annotated[
    str | None,
    typer.Option(
        "--remote",
        envvar="GITOPS_REMOTE",
        metavar="NAME",
        help="The git remote to work with.",
        show_default="visage where there is one, else origin",
    ),
]
Push = Annotated[
    bool, typer.Option("--push", help="Push the branch. Without this option, only show the proposal.")
]
WithoutStorage = Annotated[
    bool,
    typer.Option(
        "--without-dvc-remote",
        help="Where no DVC remote is configured, do not ask whether the model exists there.",
    ),
]
LoadDags = Annotated[
    bool,
    typer.Option(
        "--load-dags",
        help="Execute the DAG files of both sides, isolated, to compare computed schedules and tasks too. "
        "By default only their syntax is compared.",
    ),
]
Base = Annotated[str, typer.Option(metavar="BRANCH", help="The branch that it would be merged into.")]
Head = Annotated[
    str, typer.Option(metavar="BRANCH", help="A branch of the remote, or any commit of this checkout.")
]
Jobs = Annotated[
    list[str] | None,
    typer.Option(
        "--job",
        metavar="NAME=RESULT",
        help="The result of another check (success, skipped, failure, cancelled). Can be repeated.",
        show_default=False,
    ),
]
JobsFile = Annotated[
    Path | None,
    typer.Option(
        "--jobs",
        metavar="FILE",
        help="The jobs of a run, as gitops github run wrote them: result, time and reason of each.",
        show_default=False,
    ),
]
Access = Annotated[
    Path | None,
    typer.Option(
        "--access",
        envvar="GITOPS_ACCESS",
        metavar="FILE",
        help="Where the environments' Airflows are, and how to log in.",
        show_default=".visage/access.json",
    ),
]
Environment = Annotated[
    str,
    typer.Argument(
        metavar="ENV",
        help="An environment that takes promotions.",
        show_default=False,
        autocompletion=completion.environments,
    ),
]


def show_line(text: str, console: Console = OUT, style: str = "") -> None:
    """Print a line with text that anybody may have chosen, such as the name of a branch or a file."""
    console.print(printable(text), soft_wrap=True, markup=False, style=style)


def show_logs(ctx: typer.Context, level: int) -> None:
    """Show the log of gitops on standard error, a line for each record, until the command ends."""
    logger = logging.getLogger("gitops")
    if logger.handlers:
        return  # --verbose shows more
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    logger.setLevel(level)

    def end() -> None:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)

    ctx.call_on_close(end)


def show_judgement(judgement: "Judgement") -> None:
    """Print the results of the gates, migrations, and a line where no model was looked for."""
    from gitops.gates.gates import table

    for environment, rows in judgement.gates.items():
        OUT.print(table(rows, f"The gates of {environment}"))
    for migrated in judgement.migrations:
        OUT.print(f"{migrated}:", soft_wrap=True, markup=False, style="yellow")
        OUT.print(instructions.text(migrated.commands, indent="    "), soft_wrap=True, markup=False)
    if not judgement.models_checked:
        ERR.print(
            "Not checked: whether the model exists, as no DVC remote is configured here",
            soft_wrap=True,
            style="yellow",
        )
