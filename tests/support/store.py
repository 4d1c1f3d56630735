"""Trainings that end, fail and are released, on real git, with their objects in a DVC remote in a folder."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.figures import model_files
from tests.support.lab import Lab

PIPELINE = b"""stages:
  prepare:
    cmd: make it
    outs: [data/prepared]
  export:
    cmd: make it
    outs: [models/model.onnx]
"""


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def put(place: Path, content: bytes, at: datetime, suffix: str = "") -> str:
    """Write an object that was made at a time, unless it is there; return its digest."""
    digest = md5(content) + suffix
    file = place / "files" / "md5" / digest[:2] / digest[2:]
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o444)
        os.utime(file, (at.timestamp(), at.timestamp()))
    return digest


def digests(place: Path) -> set[str]:
    """Return the objects of a DVC remote in a folder, or of its trash."""
    return {f"{path.parent.name}{path.name}" for path in place.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Trainings:
    """The results of trainings in a lab, in a DVC remote and in a cache, at any time."""

    lab: Lab
    store: Path
    cache: Path
    monkeypatch: pytest.MonkeyPatch

    def at(self, moment: datetime) -> None:
        """Let commits from now on have this date."""
        for who in ("AUTHOR", "COMMITTER"):
            self.monkeypatch.setenv(f"GIT_{who}_DATE", f"@{int(moment.timestamp())} +0000")

    def make(self, name: str, at: datetime) -> dict[str, bytes]:
        """Make the objects of a model and of its data, and return the files of its commit."""
        files: Mapping[str, bytes] = model_files(name)
        parts = [b"a part of all", f"a part of {name}".encode()]
        listed = json.dumps([{"md5": md5(one), "relpath": str(number)} for number, one in enumerate(parts)])
        for place in (self.store, self.cache):
            for content in (name.encode(), *parts):
                put(place, content, at)
            folder = put(place, listed.encode(), at, ".dir")
        out = f"  prepare:\n    cmd: make it\n    outs:\n    - path: data/prepared\n      md5: {folder}\n"
        return {**files, "dvc.lock": files["dvc.lock"] + out.encode(), "dvc.yaml": PIPELINE}

    def run(self, name: str, at: datetime, *, ends: bool = True) -> str:
        """Train: a branch `run/`, and a tag `archive/` if it ends."""
        self.at(at)
        commit = self.lab.branch(f"run/{name}", dict(self.make(name, at)))
        if ends:
            origin = self.lab.origin
            tag = origin.tag(commit, f"archive/{name}", name, at=at)
            origin.git("update-ref", f"refs/tags/archive/{name}", tag)
        return commit

    def candidate(self, name: str, at: datetime) -> str:
        self.at(at)
        return self.lab.branch(f"candidate/{name}", dict(self.make(name, at)))

    def release(self, name: str, at: datetime, *environments: str) -> str:
        """Put a trained model on main, let dev verify it, and other environments take it."""
        self.at(at)
        commit = self.lab.land(dict(self.make(name, at)), message=f"Model {name}")
        self.lab.verify("dev", commit, at=at)
        for environment in environments:
            self.lab.declare(environment, f"commit: {commit}\n")
            self.lab.verify(environment, commit, at=at)
        return commit

    def age(self, days: float) -> None:
        """Make all objects of the DVC remote older."""
        for path in self.store.rglob("*"):
            if path.is_file():
                at = path.stat().st_mtime - days * 86_400
                os.utime(path, (at, at))

    def references(self, *kinds: str) -> list[str]:
        """Return the names of the branches and tags of some kinds."""
        names = self.lab.origin.git("for-each-ref", "--format=%(refname:lstrip=2)").splitlines()
        return [name for name in names if name.startswith(kinds)]
