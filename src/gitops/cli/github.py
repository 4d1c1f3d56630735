"""The commands `gitops github ...`, for the features that GitHub has and plain git lacks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gitops.cli import forge
from gitops.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gitops.forge.github import GitHub
    from gitops.forge.setup import Item

_OUT = Console(highlight=False)
_ERR = Console(stderr=True, highlight=False)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Pull requests, statuses and rulesets on GitHub.

Set GITHUB_TOKEN. The repository is GITHUB_REPOSITORY (owner/name), or that of the git remote. GitHub Actions
sets both. On your own machine:

    GITHUB_TOKEN=$(gh auth token) .venv/bin/gitops github doctor""",
)

# A workflow of an earlier release has them under this name.
app.command(hidden=True)(forge.promotions)
app.command(hidden=True)(forge.candidate)

_Remote = Annotated[
    str,
    typer.Option(
        "--remote", envvar="GITOPS_REMOTE", metavar="NAME", help="The git remote that is on GitHub."
    ),
]
_RULESETS = Path(".github/rulesets")
_APP_KEY = Path("visage-app.pem")
_Run = Annotated[int, typer.Argument(metavar="RUN", help="The id of a workflow run.", show_default=False)]


@app.command()
def deployments(remote: _Remote = "origin") -> None:
    """Show on GitHub which release each environment verified: a deployment with a status for each.

    A deployment is made at a verdict on the release that main declares, and again after a rollback.
    """
    from gitops.cli.context import open_checkout
    from gitops.forge.deployments import keep, of_state
    from gitops.forge.github import GitHub
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    github = GitHub.from_environ(repository.remote_url(remote))
    for wanted in of_state(fetch_state(repository, remote)):
        done = "shown" if keep(github, wanted) else "shown already"
        _OUT.print(f"{wanted.environment}: {wanted.commit[:12]}, {wanted.state}: {done}", soft_wrap=True)


@app.command()
def dependencies(
    lock: Annotated[Path, typer.Argument(metavar="FILE", help="The new lock.", show_default=False)],
    measured: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The folder with `before` and `after` of gitops packages.", show_default=False
        ),
    ] = None,
    remote: _Remote = "origin",
) -> None:
    """Open the pull request with a new requirements.lock, or bring the open one up to date.

    With `--measured` its text has the changes in decisions, speed and size.
    """
    from gitops.cli.context import open_checkout
    from gitops.errors import GitopsError
    from gitops.forge.dependencies import propose
    from gitops.forge.github import GitHub
    from gitops.release.load import fetch_state
    from gitops.report import packages
    from gitops.training.packages import Measured

    repository, remote = open_checkout(remote)
    text = ""
    if measured is not None:
        text = packages.render(*(Measured.load(measured / side) for side in ("before", "after")))
    try:
        content = lock.read_bytes()
    except OSError as error:
        raise GitopsError(f"{lock}: {error.strerror}") from error
    github = GitHub.from_environ(repository.remote_url(remote))
    done = propose(github, repository, fetch_state(repository, remote).tip, remote, content, text)
    _OUT.print(f"requirements.lock: {done}", soft_wrap=True, markup=False)


@app.command()
def run(
    run: _Run,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Write the jobs there, as JSON.", show_default=False)
    ],
) -> None:
    """Write the jobs of a run of pull-request.yml: result, time, page and the reason of a failure.

    Prints the pull request and the commit that the run is about, `number=12` and `head=<sha>`, and whether
    there is a trial, `train=success`. If the pull request has newer commits, both are empty; a group of the
    merge queue has no number. All of it comes from GitHub, never from the output of the run.
    """
    from gitops import atomic
    from gitops.forge.github import GitHub
    from gitops.forge.runs import head_of_run, jobs_of_run
    from gitops.promotion.jobs import dump

    github = GitHub.from_environ()
    head, pull = head_of_run(github, run)
    if not head:
        _ERR.print(f"run {run}: no open pull request is at its commit any more")
    jobs = jobs_of_run(github, run)
    atomic.write(out, dump(jobs), mode=0o644)
    print(f"number={pull.number if pull else ''}")
    print(f"head={head}")
    print(f"train={jobs['train'].result}")


@app.command()
def attestation(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the statement there.", show_default=False)],
    head: Annotated[str, typer.Option(metavar="COMMIT", help="A commit of main with a model.")] = "HEAD",
) -> None:
    """Write the statement about the model of a release that GitHub signs, and print `digest=sha256:...`.

    The model is fetched from the DVC remote, and compared with the digests that the release records. Where no
    DVC remote is configured, there is nothing to compare, so this prints no digest.
    """
    import json

    from gitops import atomic
    from gitops.dvc.lockfile import Lock
    from gitops.dvc.remote import Storage
    from gitops.git.repository import Repository
    from gitops.model.attestation import attest

    repository = Repository.find()
    commit = repository.resolve(head)
    presence = Storage(repository.path, optional=True).presence(Lock.load(repository, commit))
    if presence.finding:
        raise RuleError(presence.finding)
    if not presence.checked:
        _ERR.print("no DVC remote is configured: the model is not attested")
        return
    made = attest(repository, commit, repository.path / ".visage" / "models")
    atomic.write(out, json.dumps(made.predicate), mode=0o644)
    print(f"digest=sha256:{made.digest}")


@app.command()
def identity(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the token there.", show_default=False)],
    audience: Annotated[str, typer.Option(metavar="NAME", help="Who takes it.")] = "sts.amazonaws.com",
) -> None:
    """Write the token of this job's identity, which a bucket can take instead of a key (OpenID Connect).

    With AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE=FILE the DVC remote on S3 is then read as that role.
    """
    from gitops.forge.identity import write_token

    write_token(out, audience)


@app.command()
def rulesets(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the rulesets.")] = _RULESETS,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing. Exit with status 1 if something would change.")
    ] = False,
    app_id: Annotated[
        int | None,
        typer.Option("--app", metavar="ID", help="The App ID of your App, which pushes promotions.", min=1),
    ] = None,
    remote: _Remote = "origin",
) -> None:
    """Update the rulesets on GitHub from the repository. Needs a token with the permission Administration.

    Rulesets with other names stay as they are. Exits with status 1 if CODEOWNERS names a user whom GitHub
    does not know, since GitHub would then ask nobody for approval.
    """
    from gitops.forge.github import GitHub
    from gitops.forge.ruleset import PROMOTIONS, apply, load, unknown_owners, with_app
    from gitops.git.repository import Repository

    wanted = with_app(load(folder), app_id)
    repository = Repository.find()
    known = remote in repository.remotes()
    github = GitHub.from_environ(repository.remote_url(remote) if known else "")
    done = dict(apply(github, wanted, dry=dry))
    for name, what in done.items():
        _OUT.print(f"{name}: {what}", soft_wrap=True, markup=False)
    if app_id is None:
        _ERR.print(f"{PROMOTIONS}: left as it is; give the App ID of your App with --app", soft_wrap=True)
    if unknown := unknown_owners(github):
        raise RuleError(*unknown)
    if dry and set(done.values()) != {"up to date"}:
        raise typer.Exit(1)


_Name = Annotated[
    str,
    typer.Argument(metavar="[OWNER/REPO]", help="The repository on GitHub.", show_default="the git remote"),
]
_App = Annotated[
    int | None,
    typer.Option("--app", metavar="ID", help="The App ID of your App, which pushes promotions.", min=1),
]
_Queue = Annotated[
    bool, typer.Option("--merge-queue", help="Add a merge queue to main, which organisations have.")
]
_Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="DIR",
        help="Keep the private halves of new deploy keys there, a file for each environment.",
    ),
]


@app.command()
def setup(
    name: _Name = "",
    app_id: _App = None,
    keys: _Keys = None,
    merge_queue: _Queue = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    remote: _Remote = "origin",
) -> None:
    """Set up a repository on GitHub for this checkout: prints a plan, asks, and makes the changes.

    You can run it again at any time. The wanted settings come from the checkout: its workflows name actions,
    secrets and variables, `.github/rulesets` has the rules. Needs a token with the permission Administration.
    At the end it prints the steps that only a person can do, and exits with status 1 if anything is left.
    """
    from gitops.forge.setup import apply, unfinished

    left = unfinished(_setup_plan(name, app_id, keys, merge_queue, remote))
    changes = [item for item in left if item.state == "change"]
    _show(left)
    if changes and not yes:
        typer.confirm(f"Make {len(changes)} changes?", abort=True)
    done = [apply(item) for item in changes]
    _show((item for item in done if item.state == "ok"), "done")
    if still := [item for item in [*done, *left] if item.state == "person"]:
        _OUT.print("\nFor you:")
        _show(still)
        raise typer.Exit(1)
    _OUT.print("Everything is set up.")


@app.command()
def doctor(
    name: _Name = "",
    app_id: _App = None,
    merge_queue: _Queue = False,
    remote: _Remote = "origin",
) -> None:
    """Compare the settings of a repository on GitHub with the ones that this checkout needs.

    Changes nothing. Exits with status 1 if something is missing, with a line that names the remedy.
    """
    from gitops.forge.setup import unfinished

    items = list(_setup_plan(name, app_id, None, merge_queue, remote))
    _show(items)
    if left := unfinished(items):
        by_command = sum(item.state == "change" for item in left)
        _OUT.print(
            f"{len(left)} of {len(items)} are missing or different; "
            f".venv/bin/gitops github setup mends {by_command}"
        )
        raise typer.Exit(1)


@app.command("app")
def make_app(
    name: _Name = "",
    title: Annotated[
        str, typer.Option(metavar="NAME", help="The name of the App.", show_default="visage-OWNER")
    ] = "",
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write its private key there.")] = _APP_KEY,
    minutes: Annotated[float, typer.Option(help="How long to wait for your click.", min=0.01)] = 15,
    remote: _Remote = "origin",
) -> None:
    """Create the App that opens pull requests: open a page, click *Create*, and this command does the rest.

    A pull request that a workflow opens with its own token starts no checks, so workflows need an App.
    """
    from gitops import atomic
    from gitops.forge.app import create

    github = _github(name, remote)

    def announce(page: str) -> None:
        _OUT.print(f"Open {page} in a browser on this machine, and click Create.", soft_wrap=True)

    made = create(github, title or f"visage-{github.owner}", announce, seconds=minutes * 60)
    atomic.write(out, made.private_key, mode=0o600)
    repository = github.repository
    _OUT.print(
        f"The App {made.slug} exists. Now\n"
        f"  install it on this repository alone: {made.page}/installations/new\n"
        f"  gh variable set VISAGE_APP_CLIENT_ID --body {made.client_id} --repo {repository}\n"
        f"  gh secret set VISAGE_APP_PRIVATE_KEY --env proposals --repo {repository} < {out} && rm {out}\n"
        f"  .venv/bin/gitops github setup {repository} --app {made.id}",
        soft_wrap=True,
        markup=False,
    )


def _github(name: str, remote: str) -> "GitHub":
    from gitops.forge.github import GitHub
    from gitops.git.repository import Repository

    repository = Repository.find()
    known = remote in repository.remotes()
    return GitHub.from_environ(repository.remote_url(remote) if known else "", name)


def _setup_plan(
    name: str, app_id: int | None, keys: Path | None, merge_queue: bool, remote: str
) -> "Iterator[Item]":
    from gitops.forge.ruleset import load, with_merge_queue
    from gitops.forge.setup import plan
    from gitops.git.repository import Repository

    root = Repository.find().path
    rulesets = load(root / _RULESETS)
    if merge_queue:
        rulesets = with_merge_queue(rulesets)
    return plan(_github(name, remote), root, rulesets, app=app_id, keys=keys)


def _show(items: "Iterable[Item]", word: str = "") -> None:
    words = {"ok": "ok", "change": "to change", "person": "for you"}
    for item in items:
        line = f"{word or words[item.state]:<10} {item.name}"
        _OUT.print(f"{line}: {item.text}" if item.text else line, soft_wrap=True, markup=False)
