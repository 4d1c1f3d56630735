"""The command `adopt`, for whoever takes the repository over."""

from typing import Annotated

import typer

from gitops.cli.options import OUT
from gitops.git.repository import Repository

_BRANCH_NOTE = "Push it to main before you create the rulesets."


def adopt(
    name: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="Your repository on the forge.")],
    repository: Annotated[
        str, typer.Option(metavar="URL", help="Its address. Default: https://github.com/OWNER/REPO.git")
    ] = "",
    image: Annotated[
        str, typer.Option(metavar="IMAGE", help="Airflow's image. Default: ghcr.io/OWNER/visage-airflow")
    ] = "",
    owner: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An owner: @name, @organisation/team or an address. Repeatable."),
    ] = None,
) -> None:
    """Fill your names into all files that have placeholders, in one commit on the current branch.

    The manifests, `CODEOWNERS` and Argo CD's applications name a repository, an image and owners that resolve
    to nothing, so that nobody else's code can come into your cluster. Files that you changed without a commit
    are not overwritten.
    """
    from gitops.release.adoption import Names
    from gitops.release.adoption import adopt as fill_in

    names = Names.of(name, repository, image, owner or ())
    checkout = Repository.find()
    head = checkout.resolve("HEAD")
    files = fill_in(checkout, head, names)
    commit = checkout.commit_files(head, dict(files), f"Adopt the repository as {name}")
    checkout.git("merge", "--ff-only", "--quiet", commit)
    for path in sorted(files):
        OUT.print(path, soft_wrap=True, markup=False)
    OUT.print(f"{commit[:12]} has your names in {len(files)} files. {_BRANCH_NOTE}", soft_wrap=True)
