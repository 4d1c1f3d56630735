"""Whether a fault has damaged what others read: git, the DVC remote, the folder of workspaces."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from gitops.git.repository import Repository


def assert_undamaged(origin: Repository, store: Path, spaces: Path, *, after: str | None = None) -> None:
    """Fail unless git is whole, all that any commit names is on the DVC remote, and no workspace is left.

    `store` is where the DVC remote keeps its files on this machine. The data of the commit `after` and those
    before it are on another remote.
    """
    origin.git("fsck", "--strict", "--no-dangling")
    seen = 0
    made = ("--all", *(("--not", after) if after else ()))
    for commit in origin.git("rev-list", *made).splitlines():
        for path, digest in _named(origin, commit):
            _check(store, digest, f"{commit[:12]}: {path}")
            seen += 1
    assert seen, "there is something to look at"
    left = [entry.name for entry in spaces.iterdir() if entry.name != ".sweep"] if spaces.exists() else []
    assert left == []


def _named(origin: Repository, commit: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the digest of each output that is on the remote."""
    for path in origin.files(commit):
        if path.endswith(".dvc"):
            outs = yaml.safe_load(origin.read(commit, path) or b"")["outs"]
        elif path == "dvc.lock":
            stages = yaml.safe_load(origin.read(commit, path) or b"")["stages"].values()
            outs = [out for stage in stages for out in stage.get("outs", [])]
        else:
            continue
        for out in outs:
            if origin.tree_id(commit, out["path"]) is None:
                yield out["path"], out["md5"]


def _check(store: Path, digest: str, name: str) -> None:
    file = store / "files" / "md5" / digest[:2] / digest[2:]
    assert file.is_file(), f"{name}: {digest} is not on the remote"
    content = file.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert found == digest.removesuffix(".dir"), name
    if digest.endswith(".dir"):
        for entry in json.loads(content):
            _check(store, entry["md5"], f"{name}/{entry['relpath']}")
