"""Reading the past from a repository: the one place of the history that asks git.

However long main is, git is asked a fixed number of times.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations

from gitops.diff.load import load_difference
from gitops.dvc.provenance import Provenance
from gitops.git.repository import Repository
from gitops.history.board import Board, Place, place
from gitops.history.deployments import releases
from gitops.history.trunk import FileChange, Past, TrunkCommit
from gitops.model import cost
from gitops.model.cost import Cost, StageCost
from gitops.promotion.evidence import Evidence
from gitops.release.approvals import APPROVED
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState
from gitops.release.verdicts import REJECTED, VERIFIED, Verdicts
from gitops.text import parse

_RELEASE = re.compile(r"environments/[^/]+/release\.yaml")
_TIMEOUT = 600.0
_NONE = re.compile(r"0+")


def load_past(repository: Repository, tip: str, *, remote: str | None = None) -> Past:
    """Read all commits that main pointed to up to `tip`, and the tags last fetched from `remote`."""
    listed = repository.git("rev-list", "--first-parent", "--parents", "--reverse", tip, timeout=_TIMEOUT)
    parents = {commit: before for commit, *before in (line.split() for line in listed.split("\n"))}
    changes = _changes(repository, parents)
    merged = [commit for before in parents.values() for commit in before[1:]]
    commits = {commit.id: commit for commit in repository.describe([*dict.fromkeys([*parents, *merged])])}
    trunk = [
        TrunkCommit(commits[commit], tuple(commits[other] for other in before[1:]), changes.get(commit, ()))
        for commit, before in parents.items()
    ]
    files = (change for commit in trunk for change in commit.changes if _RELEASE.fullmatch(change.path))
    ids = dict.fromkeys(name for change in files for name in (change.before, change.after) if name)
    contents = repository.blobs(repository.objects([*ids]), parse.RELEASE.size)
    tags = repository.tags(f"{VERIFIED}/", f"{REJECTED}/", f"{APPROVED}/", remote=remote)
    return Past(trunk, contents, tags)


def load_verdicts(repository: Repository, past: Past, state: ReleaseState) -> Verdicts:
    """Return the verdicts of a state, which can then be asked about all commits of main and all releases."""
    commits = {commit.commit.id for commit in past.trunk} | releases(past, state.environments.promotable)
    found = Snapshot.load_all(repository, commits, ())
    return state.verdicts.adding({**dict.fromkeys(commits), **found})


def _changes(repository: Repository, parents: dict[str, list[str]]) -> dict[str, tuple[FileChange, ...]]:
    """Return the files that each commit changed, compared with its first parent."""
    query = "".join(f"{' '.join([commit, *before[:1]])}\n" for commit, before in parents.items())
    options = ("--stdin", "--root", "-r", "-z", "--raw", "--no-abbrev", "--no-renames")
    parts = iter(repository.git("diff-tree", *options, input=query, timeout=_TIMEOUT).split("\0"))
    found: dict[str, list[FileChange]] = {}
    changes: list[FileChange] = []
    for part in parts:
        if part.startswith(":"):
            _, _, before, after, _ = part.split(" ")
            changes.append(FileChange(next(parts), _id(before), _id(after)))
        elif part:
            changes = found.setdefault(part, [])
    return {commit: tuple(files) for commit, files in found.items()}


def _id(name: str) -> str | None:
    return None if _NONE.fullmatch(name) else name


def load_board(repository: Repository, state: ReleaseState, remote: str | None, now: datetime) -> Board:
    """Read the board of a state."""
    past = load_past(repository, state.tip, remote=remote)
    state = replace(state, verdicts=load_verdicts(repository, past, state))
    commits = {commit.commit.id: commit.commit for commit in past.trunk}
    names = [*state.environments]
    here = [release for name in names if (release := state.present(name).commit) and state.snapshot(release)]
    known = commits | {commit.id: commit for commit in repository.describe(here)}
    branches = [repository.branch_ref(remote or "origin", f"promote/{name}") for name in names]
    ids = dict(
        zip(names, repository.object_ids([f"{branch}^{{commit}}" for branch in branches]), strict=True)
    )
    pushed = {name: commit for name, commit in ids.items() if commit and commit not in state.parents}
    heads = {commit.id: commit for commit in repository.describe([*dict.fromkeys(pushed.values())])}
    proposals = {name: heads[commit] for name, commit in pushed.items()}
    # Commits record enough for most reasons: DVC, its remote and the comparison of models are not asked.
    evidence = replace(Evidence.of(repository), provenance=_unasked, decisions=_undecided)
    places = [place(state, past, name, known, proposals, evidence, now) for name in names]
    spent = {one.release: cost.of_commit(repository, one.release) for one in places if one.release}
    places = [
        replace(one, cost=made.total) if (made := spent.get(one.release or "")) else one for one in places
    ]
    problems = [str(fault) for fault in (state.main_fault, state.environments_problem) if fault]
    return Board(
        now,
        known[state.tip],
        tuple(places),
        (*problems, *map(str, state.verdicts.ignored), *map(str, state.approvals.ignored)),
        _differences(repository, state, places),
        _spent(past, now - timedelta(days=30)),
    )


def _spent(past: Past, since: datetime) -> StageCost | None:
    """Return the cost of the runs whose results main got since a time."""
    recent = (one for commit in past.trunk if commit.at >= since for one in (commit.commit, *commit.merged))
    # A branch that was squashed left its last commit on main, and may have been merged too.
    return cost.total({known.run: known for one in recent if (known := Cost.of(one.cost))}.values())


def _unasked(_: str) -> Provenance:
    return Provenance(trained=False)


def _undecided(_: str) -> None:
    return None


def _differences(
    repository: Repository, state: ReleaseState, places: Sequence[Place]
) -> dict[tuple[str, str], str]:
    """Return the differences between the releases of any two environments; equal pairs are compared once."""
    texts: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], str] = {}
    for first, second in combinations(places, 2):
        # From the older release to the newer one, as a promotion would go.
        pair = (second.release, first.release)
        if None in pair:
            found[second.name, first.name] = "One of them has no release yet."
        elif state.same(*pair):
            found[second.name, first.name] = "The same release."
        else:
            before, after = (state.snapshot(release or "") for release in pair)
            key = (str(pair[0]), str(pair[1]))
            if key not in texts:
                texts[key] = load_difference(repository, before, after, environments=False).text()
            found[second.name, first.name] = texts[key]
    return found
