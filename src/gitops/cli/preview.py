"""The commands of `preview`. The engine of a checkout does their work: each becomes `infra.preview` there."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from gitops.cli import completion
from gitops.cli.options import Remote
from gitops.errors import GitopsError

app = typer.Typer(
    no_args_is_help=True,
    help="""Run a branch in an environment of its own, for some hours.

It has its own port, database, repository and keys, and can only read models and data of other environments.
Nobody can promote it, and its verdicts count nowhere else. The branch of a fork gets none.""",
)
Branch = Annotated[
    str,
    typer.Argument(
        metavar="BRANCH",
        help="A branch of the remote.",
        show_default=False,
        autocompletion=completion.branches,
    ),
]


@app.command()
def up(
    branch: Branch,
    hours: Annotated[
        float, typer.Option(min=0.1, max=168, metavar="HOURS", help="For how many hours it stays.")
    ] = 8,
    remote: Remote = None,
) -> None:
    """Start the preview of a branch, or bring it to the newest commit of the branch. Its time begins again.

    The link goes into a comment on the pull request of the branch.
    """
    _become("up", f"--hours={hours}", *_remote(remote), "--", branch)


@app.command()
def down(branch: Branch, remote: Remote = None) -> None:
    """Stop the preview of a branch, and delete its database and files. The branch may be gone."""
    _become("down", *_remote(remote), "--", branch)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, remote: Remote = None
) -> None:
    """Print the previews: branch, commit, address, state, and the time at which they are taken down."""
    _become("list", *(["--json"] if as_json else []), *_remote(remote))


def _remote(name: str | None) -> list[str]:
    return [f"--remote={name}"] if name else []


def _become(*arguments: str) -> NoReturn:
    from gitops.git.repository import Repository

    root = Repository.find().path
    if not (root / "infra" / "preview").is_dir():
        raise GitopsError(f"{root}: has no folder infra/preview; run this in a checkout of the repository")
    os.chdir(root)
    command = [sys.executable, "-m", "infra.preview", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 (no shell is wanted)
