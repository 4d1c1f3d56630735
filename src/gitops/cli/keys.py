"""The commands for the keys with which environments sign their verdicts: `keys create`."""

from pathlib import Path
from typing import Annotated

import typer

from gitops.cli.context import meeting, open_checkout
from gitops.cli.options import OUT, Push, Remote
from gitops.text import instructions

app = typer.Typer(no_args_is_help=True, help="The keys with which environments sign their verdicts.")


@app.callback()
def keys() -> None:
    """Let the group have commands by name, also while there is only one."""


@app.command()
def create(
    environment: Annotated[str, typer.Argument(metavar="ENV", help="An environment.", show_default=False)],
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="The file of the private key. An existing key is used.",
            show_default=".visage/keys/ENV",
        ),
    ] = None,
    push: Push = False,
    remote: Remote = None,
) -> None:
    """Make the key of an environment, and propose to list its public half on main.

    The proposal is a branch, `keys/ENV`, that adds a line to `environments/ENV/verifiers`. From its merge on,
    the verdicts that this key signs count. Give the private key to the environment as the file that
    VISAGE_VERIFIER_KEY names, and to nobody else.
    """
    from gitops.errors import NothingToDoError
    from gitops.release.enrol import listing
    from gitops.release.keys import KeyList, PrivateKey, fingerprint, path_of
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    name = state.environments[environment].name
    place = file or repository.path / ".visage" / "keys" / name
    key = PrivateKey.create(place)
    OUT.print(f"Private key of {name}: {place} ({fingerprint(key.public)})", soft_wrap=True, markup=False)
    path = path_of(name)
    content = repository.read(state.tip, path)
    if content is not None and key.public in KeyList.read(content).keys:
        raise NothingToDoError(f"{path} lists it already")
    commit = repository.commit_files(
        state.tip, {path: listing(content, name, key)}, f"List a key of {name}\n", sign=repository.signs()
    )
    branch, at = f"keys/{name}", meeting(repository, remote)
    if not push:
        OUT.print(f"Not pushed. It would add this line to {path}, on the branch {branch}:\n", markup=False)
        OUT.print(f"{key.line(name).decode()}\nTo push and merge it:\n", soft_wrap=True, markup=False)
        commands = (instructions.propose("keys", "create", name), *instructions.after_push(branch, at))
        OUT.print(instructions.text(commands, "    "), soft_wrap=True, markup=False)
        return
    reference = f"refs/heads/{branch}"
    tracking = repository.branch_ref(remote, branch)
    known = repository.resolve(tracking) if repository.has(tracking) else None
    repository.push(remote, {reference: commit}, leases={reference: known})
    OUT.print(f"Pushed: {branch} on {remote}. Then:", style="green", soft_wrap=True)
    OUT.print(instructions.text(instructions.after_push(branch, at), "    "), soft_wrap=True, markup=False)
