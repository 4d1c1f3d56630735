"""Reading runs from a repository: tags of the archive, branches of runs, and experiments of DVC."""

import re
from collections.abc import Iterable, Mapping

from gitops.diff import files
from gitops.git.repository import Repository
from gitops.history.runs import Kind, Run, step
from gitops.model.cost import Cost
from gitops.paths import PARAMETERS
from gitops.release.snapshot import Snapshot

_ARCHIVE, _RUN = "archive/", "run/"
# refs/exps/<2 digits>/<38 digits>/<name>; DVC has others there for itself.
_EXPERIMENT = re.compile(r"[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>[^/]+)")


def fetch_experiments(repository: Repository, remote: str) -> None:
    """Fetch the experiments that somebody pushed with `dvc exp push`."""
    repository.fetch_refs(remote, f"+refs/exps/*:{repository.namespace(remote)}/exps/*")


def load_runs(repository: Repository, remote: str, tip: str) -> list[Run]:
    """Read every run last fetched from `remote`, and the experiments of this checkout, latest first.

    Args:
        repository: The repository.
        remote: The remote.
        tip: The newest commit of main.

    """
    space = repository.namespace(remote)
    found: dict[tuple[Kind, str], str] = {}
    for tag in repository.tags(_ARCHIVE, remote=remote):
        found["training", tag.name.removeprefix(_ARCHIVE)] = tag.commit
    for name, commit in _references(repository, f"{space}/heads/{_RUN}"):
        if ("training", name) not in found:
            found["unfinished", name] = commit
    for folder in (f"{space}/exps/", "refs/exps/"):
        for name, commit in _references(repository, folder):
            if match := _EXPERIMENT.fullmatch(name):
                found["experiment", match["name"]] = commit
    commits = [*dict.fromkeys(found.values())]
    snapshots = Snapshot.load_all(repository, commits)
    here = {commit.id: commit for commit in repository.describe([*snapshots])}
    steps = _steps(repository, [commit for (kind, _), commit in found.items() if kind != "experiment"], tip)
    runs = [
        Run(
            name,
            kind,
            commit,
            here[commit].at,
            here[commit].author,
            files.flat(snapshots[commit].contents[PARAMETERS] or b""),
            snapshots[commit].metrics,
            _seconds(steps, commit),
            Cost.of(here[commit].cost, f"{_RUN}{name}"),
        )
        for (kind, name), commit in found.items()
        if commit in snapshots  # a tag may mark anything
    ]
    return sorted(runs, key=lambda run: (run.at, run.name), reverse=True)


def _references(repository: Repository, folder: str) -> Iterable[tuple[str, str]]:
    listed = repository.git("for-each-ref", "--format=%(objectname) %(refname)", folder)
    for line in filter(None, listed.split("\n")):
        commit, _, name = line.partition(" ")
        yield name.removeprefix(folder), commit


def _steps(
    repository: Repository, commits: Iterable[str], tip: str
) -> Mapping[str, tuple[str, str, float | None]]:
    """Return the first parent, the stage and the seconds of each step's commit."""
    known = [commit for commit in dict.fromkeys(commits) if repository.has(commit)]
    if not known:
        return {}
    query = "\n".join([*known, f"^{tip}", ""])
    listed = repository.git("rev-list", "--first-parent", "--parents", "--stdin", input=query)
    parents = {
        commit: before for commit, *before in (line.split() for line in filter(None, listed.split("\n")))
    }
    found: dict[str, tuple[str, str, float | None]] = {}
    for commit in repository.describe([*parents]):
        if (made := step(commit.subject)) and parents[commit.id]:
            found[commit.id] = (parents[commit.id][0], *made)
    return found


def _seconds(steps: Mapping[str, tuple[str, str, float | None]], commit: str) -> dict[str, float]:
    """Return the seconds of each stage, in the order in which they ran."""
    seconds: dict[str, float] = {}
    while commit in steps:
        commit, stage, taken = steps[commit]
        if taken is not None:
            seconds[stage] = seconds.get(stage, 0.0) + taken
    return dict(reversed(seconds.items()))
