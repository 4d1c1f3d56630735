"""Reading the differences between two commits from a repository."""

from gitops.diff import dags
from gitops.diff.diff import DATA, Changed, Difference, compare
from gitops.errors import DagsError
from gitops.git.repository import Repository
from gitops.release.snapshot import Snapshot


def load_difference(
    repository: Repository,
    before: Snapshot | None,
    after: Snapshot | None,
    *,
    load_dags: bool = False,
    environments: bool = True,
) -> Difference:
    """Compare two commits; None stands for no release.

    Args:
        repository: Where both are.
        before: The first commit.
        after: The second commit.
        load_dags: Execute the DAG files that differ, in isolated processes, which also shows computed
            schedules and tasks. By default their syntax is compared.
        environments: Compare the folder of that name too, which is no part of a release.

    """
    if before and after:
        paths = repository.changed(before.commit, after.commit)
    else:
        there = before or after
        paths = repository.files(there.commit) if there else []
    pointers = [path for path in paths if path.startswith(DATA) and path.endswith(".dvc")]
    sides = [
        [content or b"" for content in repository.read_all([(side.commit, path) for path in pointers])]
        if side
        else [b""] * len(pointers)
        for side in (before, after)
    ]
    changes: list[dags.DagChange] | str = []
    if before and after and any(path.startswith(f"{dags.FOLDER}/") for path in paths):
        try:
            changes = (dags.changes if load_dags else dags.outlines)(repository, before.commit, after.commit)
        except DagsError as error:
            changes = str(error)
    changed = Changed(paths, changes, dict(zip(pointers, zip(*sides, strict=True), strict=True)))
    return compare(before, after, changed, environments=environments)
