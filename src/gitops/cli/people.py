"""The commands about people: `forget`."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli.context import open_checkout
from gitops.cli.options import ERR, OUT, Remote, show_line
from gitops.errors import GitopsError
from gitops.text import instructions

if TYPE_CHECKING:
    from gitops.git.repository import Repository
    from gitops.people.request import Request

_MOST = 20


def forget(
    ids: Annotated[
        Path,
        typer.Option(
            "--ids",
            metavar="FILE",
            help="A text file: on each line the id of a photograph, ENV:ID, or the path of a photograph.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the places and the counts.")] = False,
    home: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENV=FOLDER",
            help="The data folder of an environment. Can be repeated.",
            show_default="those of the local engine",
        ),
    ] = None,
    cache: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="A cache of DVC. Can be repeated.", show_default="those of this checkout"
        ),
    ] = None,
    backup: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="A folder of scripts/backup.sh. Can be repeated.", show_default=False
        ),
    ] = None,
    proof: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the proof as JSON.", show_default=False)
    ] = None,
    remote: Remote = None,
) -> None:
    """Remove a person's photographs, with their labels and scores, from every place.

    Finds photographs by their ids, and everything that looks the same, in the objects of the DVC remotes and
    caches, the data folders, this checkout and backups. Pushes a branch with data/forgotten.json, by whose
    digests no stage takes them again, and with main's data without them. Then removes files and objects, and
    asks every place again. A command that was stopped goes on when you run it again.

    Weights are not unlearned: train the branch. Commits keep the digests of objects that are gone, and
    releases that lost data are not promoted and cannot be rolled back to.
    """
    from gitops.people.alone import alone
    from gitops.people.request import Request
    from gitops.private import private_folder

    repository, remote = open_checkout(remote)
    state_folder = repository.path / ".visage"
    if "DVC_GLOBAL_CONFIG_DIR" not in os.environ and (state_folder / "dvc-config").is_dir():
        os.environ["DVC_GLOBAL_CONFIG_DIR"] = str(state_folder / "dvc-config")
    request = Request.read(
        ids,
        homes_of(home, state_folder),
        tuple(cache or (path for path in caches_of(repository.path) if path.is_dir())),
        tuple(backup or ()),
    )

    with alone(private_folder(state_folder / "forget")):
        _forget(repository, remote, request, dry_run=dry_run, proof=proof)


def _forget(
    repository: "Repository", remote: str, request: "Request", *, dry_run: bool, proof: Path | None
) -> None:
    from gitops.people.forget import Forget
    from gitops.release.load import fetch_state

    state = fetch_state(repository, remote)
    work = Forget(repository, remote, request, show_line)
    found = work.search()
    _show(found, state.environments, dry_run=dry_run, state=state)
    unknown = found.unknown(request)
    for name in unknown[:_MOST]:
        show_line(f"no photograph has the id {name!r}", ERR, "yellow")
    if len(unknown) > _MOST:
        ERR.print(f"and {len(unknown) - _MOST} more", markup=False, style="yellow")
    if dry_run:
        return
    branch = work.act(found, state.tip)
    if branch is None:
        show_line("Nothing was found, and nothing was changed.")
        return
    left = work.prove()
    places = [*request.homes, "DVC remotes", "caches", "checkout", *(str(path) for path in request.backups)]
    if proof:
        about = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "photographs": sorted(found.known.digests),
            "objects": sorted(found.erasure.objects),
            "places": places,
            "left": left,
        }
        proof.write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    for line in left[:_MOST]:
        show_line(line, ERR, "red")
    if left:
        raise GitopsError(f"{len(left)} places still have something; run the command again")
    work.close()
    show_line(f"Proof: asked {', '.join(places)} for {len(found.known.digests)} digests, and found none.")
    show_line("The weights of models are not unlearned. Train the branch, and merge its candidate:")
    show_line(f"    {instructions.train(branch)}")


def _show(found: object, environments: object, *, dry_run: bool, state: object) -> None:
    from typing import Any, cast

    result, known = cast(Any, found), cast(Any, state)
    would = "would be " if dry_run else ""
    OUT.print(f"{len(result.known.digests)} photographs {would}removed:", markup=False)
    for place, count in result.by_place().items():
        OUT.print(f"  {place}: {count}", markup=False)
    OUT.print(f"  objects of DVC: {len(result.erasure.objects)} {would}removed as a whole", markup=False)
    for environment in cast(Any, environments):
        present = known.present(environment).commit
        lost = [commit for commit in known.ran(environment) if commit in result.erasure.commits]
        if lost:
            here = ", the present one among them" if present in lost else ""
            OUT.print(f"  {environment}: {len(lost)} releases lose data{here}", markup=False)


def homes_of(given: list[str] | None, state: Path) -> dict[str, Path]:
    """Return the data folders of environments: those that somebody named, or those of the local engine."""
    if given is None:
        # The engine's PostgreSQL has a folder of that name too.
        found = (path for path in sorted(state.glob("*/data")) if not (path / "PG_VERSION").exists())
        return {path.parent.name: path for path in found if path.is_dir()}
    homes: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not Path(folder).is_dir():
            raise GitopsError(f"--home {text}: not ENV=FOLDER with a folder that exists")
        homes[name] = Path(folder)
    return homes


def caches_of(checkout: Path) -> list[Path]:
    """Return the caches of DVC that a checkout may have."""
    return [checkout / ".visage" / "dvc-cache", checkout / ".dvc" / "cache"]
