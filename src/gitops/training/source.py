"""Which commit a training may run: its code runs with the rights and the data of its environment."""

from collections.abc import Iterable

from gitops.errors import RuleError

OPEN = "dev"
"""The environment in which a training may run code that is not released."""

_FILES = ("dvc.lock", "params.yaml")
_FOLDERS = ("data/", "metrics/", "models/", "plots/", "search/")
_KINDS = (".csv", ".dvc", ".gitignore", ".jpg", ".json")


def source(environment: str, ref: str, release: str) -> str:
    """Decide which branch or commit a training takes.

    Args:
        environment: The name of the environment that trains.
        ref: The branch or commit that somebody asked for; empty where nobody did.
        release: The commit (40 hexadecimal digits) of the release that runs there.

    Returns:
        In dev the branch or commit that was asked for, or else `main`; elsewhere the release's own commit.

    Raises:
        RuleError: when somebody asked for another commit outside dev.

    """
    if environment == OPEN:
        return ref or "main"
    if ref not in ("", release):
        shown = "".join(letter if letter.isprintable() else "?" for letter in ref)[:80]
        raise RuleError(
            f"ref: {environment} trains its release's own commit, {release[:12]}, and not {shown}; "
            f"leave ref empty, or train {shown} in {OPEN}"
        )
    return release


def admit(environment: str, release: str, commit: str, changed: Iterable[str]) -> None:
    """Refuse to run a commit whose code is not that of the release.

    The tasks of a run hand on the commit that the next one takes, in a place that people may edit.

    Args:
        environment: The name of the environment.
        release: The commit of the release that runs there.
        commit: The commit that a task was given.
        changed: The files in which the two differ.

    Raises:
        RuleError: when they differ in more than the results of a training, outside dev.

    """
    if environment == OPEN:
        return
    for path in changed:
        if not is_result(path):
            raise RuleError(
                f"{commit[:12]}: has another {path} than the release {release[:12]}, and {environment} runs "
                "the code of its release alone; start the run again"
            )


def is_result(path: str) -> bool:
    """Return whether the steps of a training change a file of this path; none of these is executed."""
    return path in _FILES or (
        path.startswith(_FOLDERS) and path.endswith(_KINDS) and ".." not in path.split("/")
    )
