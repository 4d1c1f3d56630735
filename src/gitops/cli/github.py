"""The commands `gitops github ...`: what a forge has, and plain git has not."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gitops.errors import RuleError

_OUT = Console(highlight=False)
_ERR = Console(stderr=True, highlight=False)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Pull requests, statuses and rulesets on GitHub.

GITHUB_TOKEN says as whom; the git remote says where, or GITHUB_REPOSITORY (owner/name). GitHub Actions sets
both. On your own machine:

    GITHUB_TOKEN=$(gh auth token) gitops github rulesets --dry-run""",
)

_Remote = Annotated[
    str,
    typer.Option(
        "--remote", envvar="GITOPS_REMOTE", metavar="NAME", help="The git remote that is on GitHub."
    ),
]
_RULESETS = Path(".github/rulesets")
_Run = Annotated[int, typer.Argument(metavar="RUN", help="The id of a workflow run.", show_default=False)]


@app.command()
def promotions(
    without_storage: Annotated[
        bool,
        typer.Option(
            "--without-dvc-remote",
            help="Where no DVC remote is configured, do not ask whether the model exists there.",
        ),
    ] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is due; needs no right to write.")
    ] = False,
    remote: _Remote = "origin",
) -> None:
    """Open, update or close the pull requests that promote: one for each environment, on `promote/ENV`.

    It is time to promote once the environment before has verified what it runs, for as long as MIN_SOAK_HOURS
    asks. Nothing is proposed while a hold stands. Exits with 1 where a rule or a gate forbids what is due.
    """
    from gitops.cli.context import comparer, open_checkout
    from gitops.dvc.remote import Storage
    from gitops.forge.client import GitHub
    from gitops.forge.promotions import act, decide
    from gitops.promotion.rules import Evidence
    from gitops.release.state import Ledger

    repository, remote = open_checkout(remote)
    github = None if dry else GitHub.of_environment(repository.remote_url(remote))
    storage = Storage(repository.path, optional=without_storage)
    ledger = Ledger.fetch(repository, remote)
    evidence = Evidence(storage, comparer(repository, remote))
    refused = []
    for environment in ledger.environments.promotable:
        turn = decide(ledger, environment, remote, evidence)
        if github is not None:
            turn = act(github, ledger, remote, turn)
        if turn.state == "refused" and not dry:
            refused += [f"{environment}: {problem}" for problem in turn.refused]
        else:
            _OUT.print(f"{environment}: {turn.text}", soft_wrap=True, markup=False)
    if refused:
        raise RuleError(*refused)


@app.command()
def candidate(
    branch: Annotated[
        str, typer.Argument(metavar="BRANCH", help="The branch that a training pushed.", show_default=False)
    ],
    body: Annotated[
        Path,
        typer.Option(metavar="FILE", help="What it says, as gitops report writes it.", show_default=False),
    ],
    remote: _Remote = "origin",
) -> None:
    """Open the pull request of a candidate, or bring the open one up to date."""
    from gitops.cli.context import open_checkout
    from gitops.errors import GitopsError
    from gitops.forge.client import GitHub
    from gitops.forge.pull_request import keep

    repository, remote = open_checkout(remote)
    repository.fetch(remote)
    title = repository.commit_info(repository.branch_ref(remote, branch)).subject
    try:
        text = body.read_text("utf-8")
    except OSError as error:
        raise GitopsError(f"{body}: {error.strerror}") from error
    github = GitHub.of_environment(repository.remote_url(remote))
    kept, done = keep(github, branch, title, text)
    _OUT.print(f"{branch}: {done}, {kept.url}", soft_wrap=True, markup=False)


@app.command("pull-request")
def pull_request(run: _Run) -> None:
    """Say which open pull request a workflow run was about: `number=12`, or `number=` where it has moved on.

    GitHub is asked; nothing that the run wrote is believed.
    """
    from gitops.forge.client import GitHub
    from gitops.forge.pull_request import of_run

    found = of_run(GitHub.of_environment(), run)
    if found is None:
        _ERR.print(f"run {run}: no open pull request is at its commit any more")
    print(f"number={found.number if found else ''}")


@app.command()
def rulesets(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where they are.")] = _RULESETS,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; exit with 1 where something would change.")
    ] = False,
    remote: _Remote = "origin",
) -> None:
    """Make the rulesets on GitHub what the repository says. Needs a token with the permission Administration.

    Rulesets of other names are left alone. Exits with 1 where CODEOWNERS names somebody whom GitHub does not
    know: it would ask nobody for approval then.
    """
    from gitops.forge.client import GitHub
    from gitops.forge.ruleset import apply, load, unknown_owners
    from gitops.git.repository import Repository

    wanted = load(folder)
    repository = Repository.find()
    known = remote in repository.remotes()
    github = GitHub.of_environment(repository.remote_url(remote) if known else "")
    done = dict(apply(github, wanted, dry=dry))
    for name, what in done.items():
        _OUT.print(f"{name}: {what}", soft_wrap=True, markup=False)
    if unknown := unknown_owners(github):
        raise RuleError(*(f"{line}; name a user or a team who can write here" for line in unknown))
    if dry and set(done.values()) != {"as it should be"}:
        raise typer.Exit(1)
