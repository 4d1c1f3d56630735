"""Clones that lack a part of the history: shallow and partial ones."""

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
