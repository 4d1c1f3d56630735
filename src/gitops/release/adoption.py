"""The names of whoever runs this repository: its address, its image and its owners.

As published, the repository has placeholders that resolve to nothing. Whoever registered a name that is free
would get their code into the clusters of all who did not change it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gitops.errors import GitopsError
from gitops.findings import Finding
from gitops.git.repository import Repository

REPOSITORY = "https://git.invalid/OWNER/visage.git"
IMAGE = "registry.invalid/OWNER/visage-airflow"
OWNERS = "owners@visage.invalid"

_FOLDERS = (".github", "environments", "infra")
_FILES = (".env.example",)
_OPTIONAL = (".env.example",)
_FORGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_ADDRESS = re.compile(r"(https|ssh)://[^\s|'\"]+|[^\s|'\":/]+@[^\s|'\":]+:[^\s|'\"]+")
_IMAGE = re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+")
_OWNER = re.compile(r"@[A-Za-z0-9][A-Za-z0-9-]*(/[A-Za-z0-9._-]+)?|[^\s@]+@[^\s@]+\.[^\s@]+")


@dataclass(frozen=True)
class Names:
    """The address of the repository, the image of Airflow, and the owners as CODEOWNERS lists them."""

    repository: str
    image: str
    owners: tuple[str, ...]

    @classmethod
    def of(cls, name: str, repository: str = "", image: str = "", owners: Iterable[str] = ()) -> "Names":
        """Return the names for a repository on GitHub, with those that are given in place of the usual ones.

        Args:
            name: OWNER/REPO.
            repository: The address of the repository; by default that on github.com.
            image: The image; by default the one that the workflow `image` publishes.
            owners: The owners; by default OWNER.

        Raises:
            GitopsError: A name cannot be one.

        """
        if not _FORGE.fullmatch(name):
            raise GitopsError(f"{name}: not OWNER/REPO; write it as in the repository's address")
        owner = name.partition("/")[0]
        names = cls(
            repository or f"https://github.com/{name}.git",
            image or f"ghcr.io/{owner.lower()}/visage-airflow",
            tuple(owners) or (f"@{owner}",),
        )
        checks = [(names.repository, _ADDRESS, "address of a repository"), (names.image, _IMAGE, "image")]
        kind = "owner; write @name, @organisation/team or an e-mail address"
        checks += [(one, _OWNER, kind) for one in names.owners]
        for value, pattern, kind in checks:
            if not pattern.fullmatch(value) or ".invalid" in value:
                raise GitopsError(f"{value}: not an {kind}")
        return names


def adopt(repository: Repository, commit: str, names: Names) -> dict[str, bytes]:
    """Return the new content of each file of a commit that has a placeholder.

    Raises:
        GitopsError: The commit has no placeholder.

    """
    filled = {
        REPOSITORY: names.repository,
        IMAGE: names.image,
        OWNERS: " ".join(names.owners),
    }
    changed: dict[str, bytes] = {}
    for path, content in _contents(repository, commit):
        text = content
        for placeholder, name in filled.items():
            text = text.replace(placeholder.encode(), name.encode())
        if text != content:
            changed[path] = text
    if not changed:
        raise GitopsError("the names were filled in before; to change them, edit the files that have them")
    return changed


def leftovers(repository: Repository, commit: str) -> list[Finding]:
    """Return a finding for each file with a placeholder, in a commit where other files have real names.

    A repository in which no name was filled in yet has none: it works on one machine as it is.
    """
    wanting: list[str] = []
    filled = False
    for path, content in _contents(repository, commit):
        if path in _OPTIONAL:
            continue
        here = any(name.encode() in content for name in (REPOSITORY, IMAGE, OWNERS))
        if here:
            wanting.append(path)
        elif _names_something(path, content):
            filled = True
    remedy, command = "fill it in", ".venv/bin/gitops adopt OWNER/REPO"
    problem = "has a placeholder where other files have names"
    return (
        [Finding(path, problem, remedy, rule="placeholder", command=command) for path in wanting]
        if filled
        else []
    )


def touches(changed: Iterable[str]) -> bool:
    """Whether a change can leave a placeholder behind."""
    return any(path.startswith(tuple(f"{folder}/" for folder in _FOLDERS)) for path in changed)


def _names_something(path: str, content: bytes) -> bool:
    """Whether a file is one that names the repository, the image or the owners."""
    if path == ".github/CODEOWNERS":
        return True
    return re.search(rb"^\s*(-\s+)?(repoURL|newName):", content, re.MULTILINE) is not None


def _contents(repository: Repository, commit: str) -> list[tuple[str, bytes]]:
    paths = repository.files(commit, *_FOLDERS)
    # The code that makes new manifests has no names of its own.
    # Another rule refuses a name with a line break.
    paths = [path for path in paths if not path.endswith(".py") and "\n" not in path] + list(_FILES)
    files = [(commit, path) for path in paths]
    contents = repository.read_all(files)
    return [(path, content) for path, content in zip(paths, contents, strict=True) if content is not None]
