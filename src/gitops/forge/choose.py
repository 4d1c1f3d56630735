"""The forge of a git remote."""

import os
import re
from typing import Literal

from gitops.errors import ForgeError
from gitops.forge import forgejo
from gitops.forge.forgejo import Forgejo
from gitops.forge.github import GitHub
from gitops.forge.interface import Forge
from gitops.forge.plain import PlainGit
from gitops.git.repository import Repository

Kind = Literal["github", "forgejo", "git"]
VARIABLE = "GITOPS_FORGE"


def kind_of(url: str) -> Kind:
    """Return the kind of forge that a git remote is on.

    A job of Forgejo Actions has the variables of GitHub Actions, with the address of Forgejo's API.

    Raises:
        ForgeError: if the address does not show it.

    """
    if forgejo.in_a_job():
        return "forgejo"
    if os.environ.get("GITHUB_REPOSITORY") or re.match(r"(?:\w+://)?(?:[^@/]*@)?github\.", url):
        return "github"
    if os.environ.get(Forgejo.variable):
        return "forgejo"
    if not forgejo.server_of(url):
        return "git"
    raise ForgeError(
        f"{url}: not known which forge that is; set {VARIABLE} to github, forgejo (for Gitea too) or git"
    )


def open_forge(repository: Repository, remote: str, kind: Kind | None = None, name: str = "") -> Forge:
    """Return the forge of a remote, by default of the kind that its address shows."""
    url = repository.remote_url(remote)
    match kind or kind_of(url):
        case "github":
            return GitHub.from_environ(url, name)
        case "forgejo":
            return Forgejo.from_environ(url, name)
        case "git":
            return PlainGit(repository, remote)
