"""Reading the release state from a repository: the one place that asks git about all of it."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain

from gitops.errors import GitError, ReleaseError, SettingsError
from gitops.git.repository import Repository
from gitops.release import file as release_file
from gitops.release import main_line
from gitops.release.approvals import Approvals
from gitops.release.environments import Environments
from gitops.release.file import Declaration, path_of
from gitops.release.main_line import Known
from gitops.release.signatures import Trust
from gitops.release.snapshot import Snapshot, latest
from gitops.release.state import ReleaseState
from gitops.release.verdicts import Verdicts
from gitops.text import parse

_MOST = 500
"""How many declarations of an environment are read."""


def load_state(
    repository: Repository,
    *,
    remote: str | None = None,
    main: str = "main",
    known: Known | None = None,
    commits: Iterable[str | None] = (),
    earlier: ReleaseState | None = None,
) -> ReleaseState:
    """Read `main` of `remote` as last fetched; without a remote, the local reference `main`.

    Args:
        repository: The repository.
        remote: The remote.
        main: The branch, or a reference.
        known: A commit that main is known to have pointed to.
        commits: Further commits, by their full ids, that the state can be asked about. It always knows those
            that main declared, that were verified, and that settings name.
        earlier: A state that was read before. The commits that it has are not read again.

    Raises:
        GitError: if there is no such branch.

    """
    try:
        tip = repository.resolve(repository.branch_ref(remote, main) if remote else main)
    except GitError as error:
        raise GitError(_without_main(repository, remote, main)) from error
    read = {commit: found for commit, found in earlier.snapshots.items() if found} if earlier else {}
    # Those of the others do not have the files of environments.
    same = earlier is not None and earlier.tip == tip
    snapshot = earlier.main if earlier and same else Snapshot.load(repository, tip)
    environments, problem = latest(repository, snapshot)
    if problem and not same:
        # Too many folders, perhaps, of which some were not read
        snapshot = Snapshot.load(repository, tip, environments.names)
    lists = Trust.load(repository, tip, environments, remote=remote).lists
    verdicts = Verdicts.load(repository, lists, remote=remote, environments=environments)
    listed = (line.split() for line in repository.git("rev-list", "--parents", tip).splitlines())
    parents = {commit: tuple(before) for commit, *before in listed}
    trunk = main_line.trunk(tip, parents)
    declarations, histories = _declarations(repository, snapshot, environments, trunk)
    state = ReleaseState(
        main=snapshot,
        environments=environments,
        environments_problem=problem,
        lists=lists,
        verdicts=verdicts,
        declarations=declarations,
        histories=histories,
        snapshots={},
        parents=parents,
        known=(known,) if known else (),
        approvals=Approvals.load(repository, lists, environments, remote=remote),
        remote=remote,
    )
    approved = [one.release for one in state.approvals.given]
    asked = [
        *commits,
        *approved,
        *_anchors(state),
        *(commit for name in environments for commit in state.ran(name)),
        *(state.present(name).trial for name in environments),
    ]
    return add(state.adding({**read, tip: snapshot}), repository, asked)


def add(state: ReleaseState, repository: Repository, commits: Iterable[str | None]) -> ReleaseState:
    """Return a state that can be asked about more commits, given by their full ids; None is left out."""
    new = dict.fromkeys(commit for commit in commits if commit and commit not in state.snapshots)
    return state.adding({**new, **Snapshot.load_all(repository, new)}) if new else state


def fetch_state(
    repository: Repository, remote: str, *, main: str = "main", commits: Iterable[str | None] = ()
) -> ReleaseState:
    """Fetch from `remote` first, and remember the commit of main if nothing is wrong with it."""
    repository.fetch(remote)
    with repository.reading():
        return _remembered(repository, remote, main, commits)


def _remembered(
    repository: Repository, remote: str, main: str, commits: Iterable[str | None]
) -> ReleaseState:
    reference = f"{repository.namespace(remote)}/known/{main}"
    known = None
    if before := repository.object_ids([reference])[0]:
        known = Known(before, "which it pointed to", f"git update-ref -d {reference}")
    state = load_state(repository, remote=remote, main=main, known=known, commits=commits)
    if before != state.tip and state.main_fault is None:
        repository.git("update-ref", reference, state.tip)
    return state


def _declarations(
    repository: Repository, main: Snapshot, environments: Environments, trunk: Sequence[str]
) -> tuple[dict[str, Declaration | ReleaseError], dict[str, tuple[Declaration, ...]]]:
    """Return the present declaration of each environment, or the fault of its file, and its valid ones.

    Versions of the file that were not valid are left out of the history: no environment ran them.
    """
    changes: dict[str, Sequence[str]] = {}
    for name in environments:
        options = ("--first-parent", f"-{_MOST}", "--end-of-options", main.commit)
        listed = () if environments.follows(name) else (*options, "--", path_of(name))
        changes[name] = repository.git("rev-list", *listed).split() if listed else trunk[:_MOST]
    dated = {commit.id: commit for commit in repository.describe({main.commit, *chain(*changes.values())})}
    files = [(commit, path_of(name)) for name, commits in changes.items() for commit in commits]
    contents = dict(zip(files, repository.read_all(files, parse.RELEASE.size), strict=True))
    declarations: dict[str, Declaration | ReleaseError] = {}
    histories: dict[str, tuple[Declaration, ...]] = {}
    for name, commits in changes.items():
        path, follows, history = path_of(name), environments.follows(name), list[Declaration]()
        for commit in commits:
            if (content := contents[commit, path]) is not None:
                with suppress(ReleaseError):
                    release = release_file.parse(content, name, follows=follows)
                    history.append(Declaration.made_by(dated[commit], name, release))
        histories[name] = tuple(history)
        try:
            present = main.release(name, follows=follows)
        except ReleaseError as error:
            declarations[name] = error
            continue
        missing = ReleaseError(path, "missing on main", release_file.remedy(follows))
        by = dated[next(iter(commits), main.commit)]
        declarations[name] = missing if present is None else Declaration.made_by(by, name, present)
    return declarations, histories


def _anchors(state: ReleaseState) -> Iterable[str]:
    """Yield the releases that the settings of environments name."""
    for environment in state.environments:
        try:
            yield state.settings(environment).anchor_release
        except SettingsError:
            continue  # the gates report them


def _without_main(repository: Repository, remote: str | None, main: str) -> str:
    """Return the message for a repository without a branch `main`, with the branches that it has."""
    if remote is None:
        return f"{repository.path}: has no branch {main}"
    folder = f"{repository.namespace(remote)}/heads/"
    branches = repository.git("for-each-ref", "--count=6", "--format=%(refname)", folder).splitlines()
    names = ", ".join(name.removeprefix(folder) for name in branches[:5]) + " ..." * (len(branches) > 5)
    return (
        f"{remote} has no branch {main}, which declares the releases (it has: {names or 'no branches'}); "
        f"rename it back on the forge, or push it: git push {remote} <branch>:refs/heads/{main}"
    )
