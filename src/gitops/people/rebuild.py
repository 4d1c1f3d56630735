"""Rebuild: main without some photographs, on a branch that waits for its training and its merge."""

import logging
from collections.abc import Iterable
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gitops.dvc.run import call_dvc
from gitops.git.workspace import Origin, Workspace, workspace
from gitops.paths import FORGOTTEN, LOCK
from gitops.people import process
from gitops.people.history import LABELLED, outs_of
from gitops.people.process import Known
from gitops.release.forgotten import Forgotten
from gitops.training import stages

log = logging.getLogger(__name__)

_HOURS = timedelta(hours=6)
_COLLECT, _PREPARE = "collect", "prepare"
_RAW = ("data/raw", "data/people.csv")


def rebuild(
    origin: Origin,
    main: str,
    forgotten: Forgotten,
    known: Known,
    given: Iterable[str],
    *,
    branch: str,
    home: Path,
) -> str:
    """Push a branch of main that has forgotten photographs, with the data that main has left.

    The shards and the labelled batches are rebuilt, and the arrays, the hold-out set and the
    sample of them. The model stays the one of main until somebody trains the branch.

    Returns:
        The commit of the branch.

    """
    with workspace(origin, main, home) as space:
        outs = outs_of(space.repository, main)
        (space.path / FORGOTTEN).write_bytes(forgotten.render())
        raw = [path for path in _RAW if path in outs]
        batches = [f"{path}.dvc" for path in outs if path.startswith(f"{LABELLED}/")]
        if raw or batches:
            call_dvc([["pull", *raw, *batches]], space.path, _HOURS)
            taken = process.rebuild(space.path, known, given=given)
            _record(space, taken, made="data/raw" in outs)
        return stages.commit_changes(space, branch, f"Forget {len(known.digests)} photographs")


def _record(space: Workspace, taken: dict[str, Any], *, made: bool) -> None:
    """Let DVC record the rebuilt data, and make everything that the stage prepare makes of them."""
    commands: list[list[str]] = []
    pushed = [pointer for pointer in taken["batches"] if (space.path / pointer).is_file()]
    if taken["raw"]:
        before = _collect_of(space.path / LOCK)
        call_dvc([["commit", "--force", _COLLECT]], space.path, _HOURS)
        _keep_inputs(space.path / LOCK, before)
        pushed += [_COLLECT]
    if made and (taken["raw"] or taken["batches"]):
        commands.append(["repro", "--single-item", _PREPARE])
        pushed += [_PREPARE]
    if pushed:
        call_dvc([*commands, ["push", *pushed]], space.path, _HOURS)


def _collect_of(lock: Path) -> Any:
    yaml: Any = YAML(typ="safe")
    return yaml.load(lock)["stages"][_COLLECT]


def _keep_inputs(lock: Path, before: Any) -> None:
    """Leave the record of the code and of the parameters that made the shards: they were not made again."""
    yaml: Any = YAML()
    yaml.width = 4096
    content = yaml.load(lock)
    collect = content["stages"][_COLLECT]
    earlier = {dep["path"]: dep for dep in before.get("deps", ())}
    collect["deps"] = [
        dep if dep["path"] == FORGOTTEN else earlier.get(dep["path"], dep) for dep in collect.get("deps", ())
    ]
    for key in ("cmd", "params"):
        if key in before:
            collect[key] = before[key]
    text = BytesIO()
    yaml.dump(content, text)
    lock.write_bytes(text.getvalue())
