"""Reading a trace from a repository."""

import re
from collections.abc import Sequence
from pathlib import Path

from gitops.dvc import lockfile
from gitops.errors import GitError, GitopsError, ParseError
from gitops.git.repository import Repository
from gitops.history import deployments, trace
from gitops.history.load import load_past, load_verdicts
from gitops.history.trace import Trace
from gitops.paths import EVALUATION, LABELLED, LOCK, MODEL
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState
from gitops.text import parse

_FILES = (EVALUATION, LOCK, lockfile.PIPELINE)


def load_trace(
    repository: Repository, state: ReleaseState, remote: str, name: str, homes: Sequence[Path] = ()
) -> Trace:
    """Trace a file of scores, the digest of a model (SHA-256 or MD5), or a commit.

    Raises:
        GitopsError: if main never had such a model, or the commit has none.

    """
    past = load_past(repository, state.tip, remote=remote)
    made = [
        commit.commit.id
        for commit in past.trunk
        if any(change.path in (EVALUATION, LOCK) for change in commit.changes)
    ]
    snapshots = Snapshot.load_all(repository, made, _FILES)
    models = {commit: snapshot.model for commit, snapshot in snapshots.items()}
    model = _model(repository, remote, name, snapshots)
    commits = trace.holders(past.trunk, models, model)
    if not commits:
        raise GitopsError(f"{name}: main never had the model {model[:12]}; trace a release of main")
    origin = next((snapshots[commit.commit.id] for commit in commits if commit.commit.id in snapshots), None)
    verdicts = load_verdicts(repository, past, state)
    ids = {commit.commit.id for commit in commits}
    every = {
        environment: deployments.of_environment(past, state.environments, verdicts, environment)
        for environment in state.environments
    }
    declared = {place: [one for one in found if one.release in ids] for place, found in every.items()}
    scores = [found for home in homes for found in trace.scores_of(home, model)]
    data = {**_data(origin), **_labelled(repository, origin.commit)} if origin else {}
    return Trace(model, commits, data, declared, scores)


def _model(repository: Repository, remote: str, name: str, snapshots: dict[str, Snapshot]) -> str:
    """Return the SHA-256 of the model that a name leads to."""
    if name.endswith((".parquet", ".json")):
        return trace.summary_of(Path(name)).model_sha256
    if re.fullmatch(r"[0-9a-f]{64}", name):
        return name
    if re.fullmatch(r"[0-9a-f]{32}", name):
        for snapshot in snapshots.values():
            if snapshot.model and _data(snapshot).get(MODEL) == name:
                return snapshot.model
        raise GitopsError(f"{name}: main never had a model with this MD5")
    branch = repository.branch_ref(remote, name)
    try:
        commit = repository.resolve(branch if repository.has(branch) else name)
    except GitError as error:
        problem = f"{name}: no file of scores (.parquet), digest, environment, branch or commit"
        raise GitopsError(problem, command=".venv/bin/gitops trace main") from error
    model = Snapshot.load_all(repository, [commit], _FILES)[commit].model
    if model is None:
        raise GitopsError(f"{name}: this commit records no model; trace one that does")
    return model


def _data(snapshot: Snapshot) -> dict[str, str]:
    contents = snapshot.contents
    try:
        outs = [*lockfile.outs(contents[LOCK] or b"", contents[lockfile.PIPELINE] or b"")]
    except ParseError:
        return {}  # a lock that cannot be read names nothing; `gitops check` reports it
    return {path: md5 for path, out in outs if isinstance(md5 := out.get("md5"), str)}


def _labelled(repository: Repository, commit: str) -> dict[str, str]:
    """Return the digest of each labelled batch that a commit has."""
    pointers = [path for path in repository.files(commit, LABELLED) if path.endswith(".dvc")]
    found: dict[str, str] = {}
    for path, content in zip(
        pointers,
        repository.read_all([(commit, path) for path in pointers], parse.POINTER.size),
        strict=True,
    ):
        try:
            outs = parse.sequence(parse.mapping(parse.yaml_value(content or b"", parse.POINTER)).get("outs"))
        except ParseError:
            continue  # `gitops check` reports a pointer that cannot be read
        for out in map(parse.mapping, outs):
            if isinstance(md5 := out.get("md5"), str):
                found[path.removesuffix(".dvc")] = md5
    return found
