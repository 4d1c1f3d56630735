"""Clones of all kinds: shallow and partial ones, worktrees, submodules, and those with odd settings."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops.git.repository import Repository
from gitops.promotion.merge import check
from gitops.promotion.promotions import promote
from gitops.promotion.rollbacks import rollback
from gitops.release.load import fetch_state
from tests.support.lab import Lab


@pytest.mark.parametrize("options", [("--depth=1",), ("--filter=blob:none",), ("--filter=tree:0",)])
def test_a_clone_without_history_decides_as_a_whole_one(
    lab: Lab, tmp_path: Path, options: tuple[str, ...]
) -> None:
    start = lab.tip
    lab.train("a")
    first = lab.release("staging")
    lab.train("b")
    lab.release("staging")
    lab.branch("feature", {"src/new.py": b""}, on=start)
    newest = lab.train("c")
    lab.origin.git("config", "uploadpack.allowFilter", "true")
    url = f"file://{lab.origin.path}"
    clone = Repository.clone(url, tmp_path / "part", "--template=", *options)
    state = fetch_state(clone, "origin")
    assert rollback(lab.clone, state, "staging", "origin").after.commit == first
    assert promote(lab.clone, state, "staging", "origin").after.commit == newest
    assert check(lab.clone, state, clone.resolve(clone.branch_ref("origin", "feature"))).findings == ()
    # Nothing is left to complete, and nothing in the way of the next command.
    assert fetch_state(clone, "origin").tip == lab.tip


def _kinds(lab: Lab, folder: Path, old: str) -> Iterator[Path]:
    """Make clones of other kinds, one after the other."""
    url, parent = str(lab.origin.path), Repository(folder)

    def clone(name: str, *options: str) -> Repository:
        return Repository.clone(url, folder / name, "--template=", *options)

    plain = clone("plain")
    plain.git("config", "extensions.worktreeConfig", "true")
    plain.git("worktree", "add", "--quiet", str(folder / "worktree"))
    worktree = Repository(folder / "worktree")
    settings = {"core.sparseCheckout": "true", "core.quotePath": "false", "diff.external": "x"}
    for key, value in settings.items():
        worktree.git("config", "--worktree", key, value)
    yield worktree.path

    for key, value in {"core.fsmonitor": "/bin/false", "index.version": "4", "index.sparse": "true"}.items():
        plain.git("config", key, value)
    plain.git("sparse-checkout", "set", "docs")
    yield plain.path

    grafted = clone("grafted")
    (grafted.path / ".git/info").mkdir()
    (grafted.path / ".git/info/grafts").write_text(grafted.resolve("HEAD") + "\n")
    for name in ("refs/tags/main", "refs/tags/origin/main", "refs/heads/origin/main", "refs/main"):
        grafted.git("update-ref", name, old)
    yield grafted.path

    lab.origin.git("update-ref", "refs/heads/other", old)
    yield clone("single", "--single-branch", "--branch=other").path

    yield clone("separate", f"--separate-git-dir={folder / 'separate.git'}").path

    parent.git("init", "--quiet", "outer")
    outer = Repository(folder / "outer")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, "visage")
    yield outer.path / "visage"

    yield clone("both", "--no-checkout", "--shared", "--depth=1").path

    alternates = Repository.clone(str(grafted.path), folder / "alternates", "--template=", "--shared")
    alternates.git("remote", "set-url", "origin", url)
    shutil.rmtree(grafted.path)
    yield alternates.path


def test_a_clone_of_any_kind_decides_as_a_plain_one(lab: Lab, tmp_path: Path) -> None:
    start = lab.tip
    lab.train("a")
    first = lab.release("staging")
    lab.train("b")
    lab.release("staging")
    decided = []
    for folder in _kinds(lab, tmp_path, start):
        clone = Repository.find(folder)
        back = rollback(clone, fetch_state(clone, "origin"), "staging", "origin").after.commit
        decided.append((folder.name, back))
    assert decided == [(name, first) for name, _ in decided]
    assert len(decided) == 8
