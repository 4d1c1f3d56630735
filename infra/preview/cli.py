"""The command line of previews; `gitops preview` calls it."""

import json
import os
from datetime import UTC, datetime
from typing import Annotated, ClassVar

import typer
from rich.console import Console

from gitops.cli.context import open_checkout
from gitops.cli.options import Remote
from gitops.forge.choose import open_forge
from gitops.git.repository import Repository
from gitops.text.command_line import Group
from gitops.text.markdown import one_line
from gitops.training import source
from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.origin import REMOTE
from infra.local.process import UMASK
from infra.local.screen import Screen
from infra.preview.compose import COMPOSE, ComposeHost
from infra.preview.host import Host
from infra.preview.kubernetes import KubernetesHost
from infra.preview.local import LocalHost
from infra.preview.record import LONGEST_BRANCH, MOST_HOURS

MARK = "visage-preview"
"""The mark of the comment with the link."""


class _Group(Group):
    program = ".venv/bin/gitops preview"
    expected = (EngineError,)
    actions: ClassVar = {
        "": "work on a preview",
        "up": "bring the preview up",
        "down": "take the preview down",
        "list": "list the previews",
    }
    following: ClassVar = {"down": ".venv/bin/gitops preview list", "list": "make status"}


app = typer.Typer(cls=_Group, name="preview", no_args_is_help=True, add_completion=False)
Branch = Annotated[str, typer.Argument(metavar="BRANCH", help="A branch of the remote.")]


@app.command()
def up(
    branch: Branch,
    hours: Annotated[float, typer.Option(min=0.1, max=MOST_HOURS, help="For how many hours it stays.")] = 8,
    remote: Remote = None,
) -> None:
    """Start an environment that runs a branch, or bring it to the newest commit of the branch."""
    repository, host, remote, screen = _here(remote)
    main = repository.remote_refs(remote, "refs/heads/main").get("refs/heads/main")
    if main is None:
        raise EngineError(f"{remote}: has no branch main")
    commit = source.previewed(repository, remote, branch, main)
    if len(branch) > LONGEST_BRANCH:
        raise EngineError(f"the name of the branch has more than {LONGEST_BRANCH} characters; rename it")
    with screen.step(f"Bring {one_line(branch)} up at {commit[:12]}") as step:
        running = host.up(branch, commit, hours, step)
    until = _shown(running.preview.until)
    screen.print(f"{running.url}  until {until}; user airflow, {running.password}")
    text = f"Preview of `{commit[:12]}`: {running.url} until {until}.\n"
    forge = open_forge(repository, remote)
    if pull := forge.find(branch):
        forge.comment(pull, MARK, text)
        screen.print(f"The link is in the comment on {pull.name}.")


@app.command()
def down(branch: Branch, remote: Remote = None) -> None:
    """Stop the preview of a branch, and delete its database and files. The branch may be gone."""
    _, host, _, screen = _here(remote)
    if not host.down(branch, screen):
        raise EngineError(f"{one_line(branch)}: has no preview here")


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, remote: Remote = None
) -> None:
    """Print the previews: branch, commit, address, state, and when they are taken down."""
    _, host, _, screen = _here(remote)
    found = host.all(datetime.now(UTC))
    if as_json:
        rows = [{**one.preview.model_dump(mode="json"), "url": one.url, "state": one.state} for one in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    for one in found:
        preview = one.preview
        words = (one_line(preview.branch), preview.commit[:12], one.url, one.state)
        screen.print("  ".join([*words, f"until {_shown(preview.until)}"]))
    if not found:
        screen.print("No previews.")


def _here(remote: str | None) -> tuple[Repository, Host, str, Screen]:
    """Return the checkout, the engine of the remote, the remote, and the output."""
    os.umask(UMASK)
    repository, remote = open_checkout(remote)
    match remote:
        case name if name == REMOTE:
            host: Host = LocalHost(Layout(repository.path.resolve()), dict(os.environ))
        case name if name == COMPOSE:
            host = ComposeHost(repository.path.resolve())
        case _:
            host = KubernetesHost(repository)
    return repository, host, remote, Screen(Console(highlight=False))


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
