"""The command `gitops`."""

import logging
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gitops.cli import adopt, approvals, history, releases, review, train
from gitops.cli import forge as forge_cli
from gitops.cli import github as github_cli
from gitops.cli import inspect as inspect_commands
from gitops.cli import keys as keys_cli
from gitops.cli import statement as statement_cli
from gitops.cli import storage as storage_cli
from gitops.cli.options import ERR, OUT, show_logs
from gitops.errors import GitopsError, NothingToDoError, RuleError
from gitops.isolation import hide

_PANELS = {
    "Inspect": (inspect_commands.status, inspect_commands.diff, statement_cli.provenance),
    "Train": (train.train,),
    "Move a release": (
        releases.promote,
        approvals.approve,
        releases.rollback,
        releases.hold,
        releases.unhold,
        releases.merge,
    ),
    "Take over": (adopt.adopt,),
    "Look back": (history.board, history.runs, history.audit, history.dora),
    "Check a change": (review.check, review.scope, review.trial, review.report, review.annotate),
}


class _Group(TyperGroup):
    """Turns the errors that a user can meet into one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NothingToDoError as nothing:
            OUT.print(f"Nothing to do: {nothing}", soft_wrap=True, markup=False)
            raise typer.Exit(0) from None
        except RuleError as error:
            for finding in error.findings:
                ERR.print(f"refused: {finding}", soft_wrap=True, markup=False, style="red")
            raise typer.Exit(1) from None
        except GitopsError as error:
            ERR.print(f"error: {error}", soft_wrap=True, markup=False, style="red")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Which release runs where, and how it gets there.

A **release** is a commit: it fixes the DAGs, the code, the parameters and the model.
`environments/<env>/release.yaml` on the branch `main` names the release of an environment. One environment
follows `main`, the others name a commit.

A release moves from environment to environment, here dev, staging and prod, by pull requests that change only
that file:

    gitops status                      show which release runs in each environment
    gitops train my-change --wait      train a model from a branch
    gitops diff staging prod           show the differences between two environments
    gitops promote staging --push      propose the release of dev to staging
    gitops merge promote/staging       check and merge the proposal, as a forge does
    gitops rollback prod --push        propose an earlier release to prod
    gitops merge rollback/prod         check and merge it: prod goes back

Commands read from a git remote and push to it. They do not touch your branches, index and files.""",
)


@app.callback()
def options(
    ctx: typer.Context,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also show each git command, and other details.")
    ] = False,
) -> None:
    """Set the options of every command."""
    hide()
    if verbose:
        show_logs(ctx, logging.DEBUG)


for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
app.command("release-hold", hidden=True)(releases.unhold)  # its earlier name
app.add_typer(keys_cli.app, name="keys", rich_help_panel="Keys")
app.add_typer(storage_cli.app, name="storage", rich_help_panel="Storage")
app.add_typer(forge_cli.app, name="forge", rich_help_panel="Forges")
app.add_typer(github_cli.app, name="github", rich_help_panel="Forges")
