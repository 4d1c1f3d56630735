"""The command `gitops`."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gitops.cli import adopt, approvals, explain, failure, history, overview, releases, review, train, trials
from gitops.cli import forge as forge_cli
from gitops.cli import github as github_cli
from gitops.cli import inspect as inspect_commands
from gitops.cli import keys as keys_cli
from gitops.cli import log as log_cli
from gitops.cli import manifests as manifests_cli
from gitops.cli import people as people_cli
from gitops.cli import preview as preview_cli
from gitops.cli import statement as statement_cli
from gitops.cli import storage as storage_cli
from gitops.cli import upkeep as upkeep_cli
from gitops.cli.options import ERR, OUT, show_logs
from gitops.errors import GitopsError, NothingToDoError
from gitops.isolation import hide
from gitops.runtime import other_code
from gitops.text.command_line import UsageError

_PANELS = {
    "Inspect": (
        inspect_commands.status,
        log_cli.log,
        inspect_commands.diff,
        manifests_cli.manifests,
        statement_cli.provenance,
        explain.explain,
    ),
    "Train": (train.train,),
    "Move a release": (
        releases.promote,
        approvals.approve,
        releases.rollback,
        releases.hold,
        releases.unhold,
        trials.shadow,
        trials.canary,
        releases.merge,
    ),
    "Take over": (adopt.adopt,),
    "Look back": (history.board, history.runs, history.audit, history.dora, history.trace),
    "People": (people_cli.forget,),
    "Keep it up": (upkeep_cli.prune, upkeep_cli.doctor),
    "Check a change": (
        review.check,
        review.scope,
        review.trial,
        review.packages,
        review.report,
        review.annotate,
    ),
}


_TYPED = "gitops.typed"


class _Group(TyperGroup):
    """Shows the errors that a user can meet, each with the next command, and exits with a status."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_TYPED] = [*args]
        return super().parse_args(ctx, args)

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        try:
            return super().make_context(info_name, args, *rest, **extra)
        except UsageError as error:
            failure.usage(error.format_message(), failure.ACTIONS[""], (), ERR)  # type: ignore[arg-type]
            raise typer.Exit(error.exit_code) from None

    def invoke(self, ctx: Any) -> Any:
        typed = ctx.meta[_TYPED]
        try:
            return super().invoke(ctx)
        except NothingToDoError as nothing:
            OUT.print(f"Nothing to do: {nothing}", soft_wrap=True, markup=False)
            raise typer.Exit(0) from None
        except GitopsError as error:
            failure.show(error, *failure.wanted(self, ctx, typed), typed, ERR)
            raise typer.Exit(1) from None
        except UsageError as error:
            if problem := error.format_message():  # else the help of a group was shown
                failure.usage(problem, *failure.wanted(self, ctx, typed), ERR)
            raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    cls=_Group,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Which release runs where, and how it gets there.

A **release** is a commit: it fixes the DAGs, the code, the parameters and the model.
`environments/<env>/release.yaml` on the branch `main` names the release of an environment. One environment
follows `main`, the others name a commit.

A release moves from environment to environment, here dev, staging and prod, by pull requests that change only
that file:

    .venv/bin/gitops status                      show which release runs in each environment
    .venv/bin/gitops train my-change --wait      train a model from a branch
    .venv/bin/gitops diff staging prod           show the differences between two environments
    .venv/bin/gitops promote staging --push      propose the release of dev to staging
    .venv/bin/gitops merge promote/staging       check and merge the proposal, as a forge does
    .venv/bin/gitops rollback prod --push        propose an earlier release to prod
    .venv/bin/gitops merge rollback/prod         check and merge it: prod goes back

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
    if problem := other_code(Path.cwd()):
        raise GitopsError(problem, command="make setup")
    if ctx.invoked_subcommand is None:
        overview.show()
        return
    if verbose:
        show_logs(ctx, logging.DEBUG)


for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
app.command("release-hold", hidden=True)(releases.unhold)  # its earlier name
app.add_typer(preview_cli.app, name="preview", rich_help_panel="Check a change")
app.add_typer(keys_cli.app, name="keys", rich_help_panel="Keys")
app.add_typer(storage_cli.app, name="storage", rich_help_panel="Storage")
app.add_typer(forge_cli.app, name="forge", rich_help_panel="Forges")
app.add_typer(github_cli.app, name="github", rich_help_panel="Forges")
