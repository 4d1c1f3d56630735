"""The commands for the DVC remote: `storage move`."""

from typing import Annotated, Any

import typer

from gitops.cli.context import meeting, open_checkout
from gitops.cli.options import ERR, OUT, Push, Remote, show_line
from gitops.text import instructions

app = typer.Typer(no_args_is_help=True, help="The DVC remote, which has the models and the data.")

_CONFIG = ".dvc/config"
_MOST = 10
_BRANCH = "storage/move"


@app.callback()
def storage() -> None:
    """Let the group have commands by name, also while there is only one."""


@app.command()
def move(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The DVC remote to move to.", show_default=False)
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="The DVC remote to copy from.",
            show_default="the present one",
        ),
    ] = None,
    leave_damaged: Annotated[
        bool, typer.Option("--leave-damaged", help="Move, although some objects are damaged.")
    ] = False,
    push: Push = False,
    remote: Remote = None,
) -> None:
    """Copy all objects of the DVC remote to another one, and propose that one to main.

    Make the new remote first: `dvc remote add NAME URL`. Each object is read from its new place and compared
    with its digest. The old place stays as it is. Releases of before are fetched from the new place too. Run
    the command again after the merge, to copy objects that somebody pushed to the old place meanwhile.
    """
    from gitops.dvc.move import move as move_objects
    from gitops.dvc.move import point
    from gitops.errors import StorageError
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    wanted = dict(_wanted(repository, state))
    moved = move_objects(repository.path, name, wanted, source=source)
    OUT.print(
        f"{name} has {moved.objects - len(moved.damaged)} of the {moved.objects} objects of {moved.source}, "
        f"each compared with its digest: "
        f"{moved.copied} were copied, {moved.objects - moved.copied - len(moved.damaged)} were there",
        soft_wrap=True,
        markup=False,
    )
    for digest in moved.damaged[:_MOST]:
        ERR.print(f"{digest}: damaged in {moved.source}, not copied", soft_wrap=True, style="red")
    for digest in moved.missing[:_MOST]:
        show_line(f"{wanted[digest]} ({digest}): in neither place", ERR, "yellow")
    if moved.damaged and not leave_damaged:
        raise StorageError(
            f"{len(moved.damaged)} objects are damaged; push them from where they were made, and run this "
            "again, or leave them: --leave-damaged",
            following=".venv/bin/dvc push",
        )
    OUT.print(
        f"{len(set(wanted) - set(moved.missing))} of {len(wanted)} outputs of the releases that "
        f"{', '.join(state.environments)} ran are there",
        soft_wrap=True,
        markup=False,
    )
    if moved.level != "repo":
        OUT.print(
            f"The present DVC remote is named in {moved.file}. Name the new one there, on each machine that "
            f"has such a file:\n\n    dvc remote default --{moved.level} {name}",
            soft_wrap=True,
            markup=False,
        )
        return
    if not moved.settings:
        raise StorageError(
            f"{_CONFIG} has no remote {name}; add it", following=f".venv/bin/dvc remote add {name} URL"
        )
    content = repository.read(state.tip, _CONFIG)
    files = {_CONFIG: point(content, name, moved.settings)}
    if files[_CONFIG] == content:
        OUT.print(f"main names {name} already", soft_wrap=True, markup=False)
        return
    commit = repository.commit_files(
        state.tip, files, f"Move the DVC remote to {name}\n", sign=repository.signs()
    )
    _propose(repository, remote, commit, push=push)


def _wanted(repository: Any, state: Any) -> Any:
    """Yield the digest and the name of each output of the releases that the environments ran."""
    from gitops.dvc.lockfile import Lock, outs
    from gitops.errors import ParseError

    for environment in state.environments:
        for commit in state.ran(environment)[:_MOST]:
            if state.snapshot(commit) is None:
                continue
            try:
                lock = Lock.load(repository, commit)
                records = list(outs(lock.content, lock.pipeline))
            except ParseError:
                continue  # it could be fetched from nowhere
            for path, record in records:
                if isinstance(digest := record.get("md5"), str):
                    yield digest, f"{path} of {commit[:12]}, which {environment} ran"


def _propose(repository: Any, remote: str, commit: str, *, push: bool) -> None:
    if not push:
        OUT.print(f"Not pushed. It would change {_CONFIG} on the branch {_BRANCH}:\n", markup=False)
        OUT.print(repository.git("diff", f"{commit}^", commit), soft_wrap=True, markup=False)
        return
    reference, tracking = f"refs/heads/{_BRANCH}", repository.branch_ref(remote, _BRANCH)
    known = repository.resolve(tracking) if repository.has(tracking) else None
    repository.push(remote, {reference: commit}, leases={reference: known})
    OUT.print(f"Pushed: {_BRANCH} on {remote}. Then:", style="green", soft_wrap=True)
    commands = instructions.after_push(_BRANCH, meeting(repository, remote))
    OUT.print(instructions.text(commands, "    "), soft_wrap=True, markup=False)
