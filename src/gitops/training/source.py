"""Which commit a training may run: its code runs with the rights and the data of its environment."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from gitops.errors import RuleError
from gitops.findings import Finding
from gitops.git.objects import Entry
from gitops.git.repository import Repository
from gitops.release import pointers
from gitops.release.environments import EARLIER, Environments
from gitops.text import parse
from gitops.text.markdown import one_line

_FILES = ("dvc.lock", "metrics/card.md", "params.yaml")
_FOLDERS = ("data/", "metrics/", "models/", "plots/", "search/")
_KINDS = (".csv", ".dvc", ".gitignore", ".jpg", ".json")
_FILE_MODES = ("100644", "100755", "")


@dataclass(frozen=True)
class Changed:
    """A file in which two commits differ: its mode, "" if it is gone, and the contents of a `.dvc` file."""

    path: str
    mode: str
    pointer: bytes | None = None


def source(environment: str, ref: str, release: str, *, environments: Environments = EARLIER) -> str:
    """Decide which branch or commit a training takes.

    Args:
        environment: The name of the environment that trains.
        ref: The branch or commit that somebody asked for; empty where nobody did.
        release: The commit (40 hexadecimal digits) of the release that runs there.
        environments: The environments of that release; the earlier ones where a release passes none.

    Returns:
        In an environment with `training: true` the branch or commit that was asked for, or else `main`.
        Elsewhere the release's own commit.

    Raises:
        RuleError: when somebody asked for another commit elsewhere.

    """
    if environments.trains(environment):
        return ref or "main"
    if ref not in ("", release):
        shown = "".join(letter if letter.isprintable() else "?" for letter in ref)[:80]
        problem = f"{environment} trains its release's own commit, {release[:12]}, and not {shown}"
        places = " or ".join(name for name in environments if environments.trains(name))
        right = f"leave ref empty, or train {shown} in {places or 'an environment with training: true'}"
        raise RuleError(Finding("ref", problem, right, rule="training-source"))
    return release


def changed(repository: Repository, release: str, commit: str) -> Iterator[Changed]:
    """Return the files in which a commit differs from a release."""
    before, after = (
        {entry.path: entry for entry in repository.entries(revision)} for revision in (release, commit)
    )
    new = [entry for path, entry in after.items() if entry != before.get(path)]
    contents = repository.contents(
        [entry for entry in new if entry.path.endswith(".dvc")], parse.POINTER.size
    )
    yield from (Changed(entry.path, entry.mode, contents.get(entry.path)) for entry in new)
    yield from (Changed(path, "") for path in before.keys() - after.keys())


def admit(
    environment: str,
    release: str,
    commit: str,
    changed: Iterable[Changed],
    *,
    environments: Environments = EARLIER,
) -> None:
    """Refuse to run a commit whose code is not that of the release.

    The tasks of a run hand on the commit that the next one takes, in a place that people may edit.

    Args:
        environment: The name of the environment.
        release: The commit of the release that runs there.
        commit: The commit that a task was given.
        changed: The files in which the two differ.
        environments: The environments of that release; the earlier ones where a release passes none.

    Raises:
        RuleError: when they differ in more than the results of a training, and the environment does not
            have `training: true`.

    """
    if environments.trains(environment):
        return
    for file in changed:
        if not is_result(file.path) or file.mode not in _FILE_MODES:
            problem = f"has another {one_line(file.path)} than the release {release[:12]}"
        elif file.mode and file.path.endswith(".dvc") and not pointers.lies_beside(file.path, file.pointer):
            problem = f"{one_line(file.path)} does not stand for one file beside it"
        else:
            continue
        problem += f", and {environment} runs the code of its release alone"
        raise RuleError(Finding(commit[:12], problem, "start the run again", rule="training-source"))


def storage(repository: Repository, commit: str) -> frozenset[Entry]:
    """Return all files of a commit that configure DVC: those in `.dvc`, however the name is written."""
    entries = repository.entries(commit)
    return frozenset(entry for entry in entries if entry.path.partition("/")[0].casefold() == ".dvc")


def admit_storage(commit: str, files: Collection[Entry], trusted: Collection[Entry]) -> None:
    """Refuse to fetch the data of a commit from an address that nobody has merged.

    DVC gets the keys of this environment. `.dvc/config` names the server that it shows them to, and can name
    a program that it executes (`credential_process` of a profile). So can `.dvc/config.local`.

    Args:
        commit: The commit that a training takes.
        files: Its files in `.dvc`, from `storage`.
        trusted: Those of main.

    Raises:
        RuleError: when they differ.

    """
    for path in sorted({entry.path for entry in {*files} ^ {*trusted}}):
        right = "merge its change first, or take main's: git restore --source main --staged --worktree .dvc"
        where = f"{one_line(path)} of {commit[:12]}"
        raise RuleError(Finding(where, "differs from that of main", right, rule="training-source"))


def previewed(repository: Repository, remote: str, branch: str, main: str) -> str:
    """Return the commit that a preview of a branch runs.

    Only people who may push to the repository have branches there, so a preview takes such a branch, and
    no fork, pull request or commit by its id. Another DVC remote than that of main is refused.

    Args:
        repository: The checkout, with everything that was fetched from `remote`.
        remote: The remote.
        branch: The branch.
        main: The commit of main.

    Raises:
        RuleError: when there is no such branch, or it names other storage.

    """
    reference = f"refs/heads/{branch}"
    commit = repository.remote_refs(remote, reference).get(reference)
    if commit is None:
        right = "push it to this repository; the branch of a fork gets no preview"
        raise RuleError(Finding(one_line(branch), f"no such branch on {remote}", right, rule="preview"))
    repository.fetch(remote)
    admit_storage(commit, storage(repository, commit), storage(repository, main))
    return commit


def admit_paths(environment: str, release: str, commit: str, changed: Iterable[str]) -> None:
    """Do as `admit` for DAGs of releases that pass only the paths of the changed files."""
    admit(environment, release, commit, [Changed(path, "") for path in changed])


def is_result(path: str) -> bool:
    """Return whether the steps of a training change a file of this path; none of these is executed."""
    return path in _FILES or (
        path.startswith(_FOLDERS) and path.endswith(_KINDS) and ".." not in path.split("/")
    )
