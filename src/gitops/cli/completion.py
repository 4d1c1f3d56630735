"""Completion in a shell: the names of environments, branches and rules in this checkout."""

from collections.abc import Callable
from pathlib import Path

from gitops.errors import GitopsError
from gitops.git.repository import Repository
from gitops.text.sections import sections

RULES = ("docs/rules.md", "docs/rules-files.md")


def _starting(incomplete: str, list_names: Callable[[Repository], list[str]]) -> list[str]:
    try:
        names = list_names(Repository.find())
    except (GitopsError, OSError):
        return []  # Outside of a checkout there is nothing to complete.
    return [name for name in names if name.startswith(incomplete)]


def environments(incomplete: str) -> list[str]:
    """Return the environments of the checkout that begin like this."""
    return _starting(
        incomplete,
        lambda here: sorted(
            file.parent.name for file in Path(here.path, "environments").glob("*/environment.yaml")
        ),
    )


def branches(incomplete: str) -> list[str]:
    """Return the branches of remotes, as last fetched, that begin like this."""

    def names(here: Repository) -> list[str]:
        listed = here.git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes").split()
        return sorted({name for name in listed if name != "HEAD"})

    return _starting(incomplete, names)


def rules(incomplete: str) -> list[str]:
    """Return the rules that begin like this."""
    return _starting(incomplete, lambda here: [*read_rules(here.path)])


def read_rules(root: Path) -> dict[str, str]:
    """Return the text of each rule in a checkout, in the order of the alphabet.

    Raises:
        OSError: if a page cannot be read.

    """
    found = {
        name: text for page in RULES for name, text in sections((root / page).read_text("utf-8")).items()
    }
    return dict(sorted(found.items()))
