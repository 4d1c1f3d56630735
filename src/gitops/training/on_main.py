"""The inputs of a branch on main as it is now, to be trained there.

Two trainings from two commits of main have two `dvc.lock`, and nobody can merge these: a model is made of one
set of data. The way out is to train once more, from main with the data and code that the branch brings.
"""

from gitops.errors import NothingToDoError, RuleError
from gitops.findings import Finding
from gitops.git.repository import Repository
from gitops.paths import LOCK
from gitops.training.candidate import slug

_MOST_NAMED = 5
_RESULTS = ("metrics/", "models/", "plots/", "search/")


def branch_of(branch: str) -> str:
    """Return the name of the branch that carries the inputs of another one."""
    return f"retrain/{slug(branch)}"


def on_main(repository: Repository, main: str, head: str) -> str:
    """Make a commit on `main` with everything that `head` changes but the results of a training.

    Args:
        repository: Has both commits.
        main: The commit of main.
        head: The last commit of the branch.

    Returns:
        The commit.

    Raises:
        NothingToDoError: when the branch brings nothing but results.
        RuleError: when main changed the same file otherwise.

    """
    base = repository.merge_base(main, head)
    if base is None:
        raise RuleError(
            Finding(
                "history",
                "this branch shares no history with main",
                "branch off main",
                rule="no-shared-history",
            )
        )
    paths = [path for path in repository.changed(base, head) if not is_result(path)]
    names = [f"{commit}:{path}" for path in paths for commit in (base, main, head)]
    ids = repository.object_ids(names)
    files: dict[str, bytes | None] = {}
    conflicts: list[str] = []
    for number, path in enumerate(paths):
        before, now, wanted = ids[3 * number : 3 * number + 3]
        if now == wanted:
            continue
        if now != before:
            conflicts.append(path)
        files[path] = repository.read(head, path)
    if conflicts:
        shown = ", ".join(conflicts[:_MOST_NAMED])
        remedy = "merge main into the branch, settle them, and train that"
        raise RuleError(Finding("history", f"conflicts with main in {shown}", remedy, rule="conflict"))
    if not files:
        raise NothingToDoError(f"{head[:12]} brings nothing but the results of a training: train main")
    return repository.commit_files(main, files, f"On main: {repository.commit_info(head).subject}\n")


def is_result(path: str) -> bool:
    """Return whether a training writes the file, so that main's own is as good until the next training."""
    return path == LOCK or path.startswith(_RESULTS)
