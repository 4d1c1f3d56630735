"""Command lines whose failures all have one form: your action, the reason why it fails, the next command.

Cannot start the environments: port 8080 is taken (dev)
Next: make up

`gitops`, `python -m serving` and `python -m infra.*` use it, also for faults in the way a command was typed.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from gitops.errors import GitopsError
from gitops.findings import printable
from gitops.runtime import other_code

_PLAINER = {
    "Value error, ": "",
    "Input should be a valid number, unable to parse string as a number": "this is no number",
    "Input should be a valid integer, unable to parse string as an integer": "this is no whole number",
    "Input should be greater than or equal to ": "the least is ",
    "Input should be less than or equal to ": "the most is ",
    "does not match the formats '%Y-%m-%d'": "is no date like 2026-01-31",
}
# Typer brings its own copy of click, and exports no name for all faults of usage.
UsageError: Any = typer.BadParameter.__bases__[0]


def failure(action: str, reason: object, following: str) -> str:
    """Return the lines of a failure.

    Args:
        action: The action that the person wanted, such as `start the environments`.
        reason: The reason why it fails, and where.
        following: The next command, which can be pasted.

    """
    # Anybody chooses the names of files, and a terminal or a log of GitHub takes some for commands.
    lines = "\n".join(map(printable, str(reason).splitlines()))
    return f"Cannot {printable(action)}: {lines}\nNext: {following}"


def plain(problem: str) -> str:
    """Return the sentence of a fault of usage without the words of the library that found it."""
    text = problem
    for words, plainer in _PLAINER.items():
        text = text.replace(words, plainer)
    return text


class _OneForm:
    """Shows the failures of a command line. It comes before Typer's class.

    Attributes:
        program: The words that start it, in a shell where nothing is activated.
        actions: The action of each command, by its name; "" of the program.
        following: The next command after an expected failure of each; by default its help.
        expected: The errors that a user can meet, besides those of usage and of gitops.

    """

    program: ClassVar[str] = ""
    actions: ClassVar[Mapping[str, str]] = {}
    following: ClassVar[Mapping[str, str]] = {}
    expected: ClassVar[tuple[type[Exception], ...]] = ()

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        typed = [*(sys.argv[1:] if args is None else args)]
        name = next((word for word in typed if word in self.actions), "")
        help_page = shlex.join([*shlex.split(self.program), *([name] if name else []), "--help"])
        try:
            if problem := other_code(Path.cwd()):
                raise GitopsError(problem, command="make setup")
            program: Any = super()
            extra["windows_expand_args"] = windows_expand_args
            status: Any = program.main(typed, prog_name, complete_var, standalone_mode=False, **extra)
        except UsageError as error:
            if problem := error.format_message():  # else the help was shown
                self._show(name, plain(problem), help_page)
            status = error.exit_code
        except (GitopsError, *self.expected) as error:
            following = getattr(error, "next_command", "") or self.following.get(name, help_page)
            self._show(name, error, following)
            status = 1
        except typer.Abort:
            status = 130
        if standalone_mode:
            sys.exit(status if isinstance(status, int) else 0)
        return status

    def _show(self, name: str, reason: object, following: str) -> None:
        typer.secho(failure(self.actions[name], reason, following), err=True)


class Command(_OneForm, TyperCommand):
    """A program of one command."""


class Group(_OneForm, TyperGroup):
    """A program of several commands."""
