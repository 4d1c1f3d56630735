"""The command `explain`: the page of a rule."""

from typing import Annotated

import typer

from gitops.cli import completion
from gitops.cli.options import OUT
from gitops.errors import GitopsError
from gitops.git.repository import Repository
from gitops.text.sections import sections

PAGE = completion.RULES


def explain(
    rule: Annotated[
        str | None,
        typer.Argument(
            metavar="[RULE]",
            help="The name of a rule, as a failure names it.",
            show_default=False,
            autocompletion=completion.rules,
        ),
    ] = None,
) -> None:
    """Print the meaning of a rule, the reason for it, and the way out. Without RULE, list all rules."""
    page = Repository.find().path / PAGE
    try:
        found = sections(page.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{PAGE} cannot be read ({error})"
        raise GitopsError(problem, command=f"git checkout main -- {PAGE}") from error
    if rule is None:
        width = max(map(len, found), default=0)
        for name, text in found.items():
            first = text.strip().partition("\n")[0].partition(". ")[0].rstrip(".")
            OUT.print(f"{name:<{width}}  {first}", soft_wrap=True, markup=False)
        return
    if rule not in found:
        near = [name for name in found if rule in name or name in rule]
        shown = f"; near it: {', '.join(near)}" if near else ""
        raise GitopsError(f"no rule is called {rule}{shown}", command=".venv/bin/gitops explain")
    OUT.print(f"{rule}\n\n{found[rule].strip()}", soft_wrap=True, markup=False)
