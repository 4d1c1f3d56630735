"""A main that is not the line that is known: a force push, or a merge that makes main a side branch."""

import shlex
from pathlib import Path

import pytest

from gitops.errors import NothingToDoError, RuleError
from gitops.git.repository import Repository
from gitops.promotion.merge import check
from gitops.promotion.promotions import promote
from gitops.promotion.rollbacks import rollback
from gitops.release.load import fetch_state
from gitops.release.main_line import Known, fault
from tests.support.figures import model_files
from tests.support.lab import Lab

A, B, C = "a" * 40, "b" * 40, "c" * 40


def test_main_as_it_is_known() -> None:
    known = [Known(A, "which it pointed to", "forget it")]
    assert fault(C, {A, C}, {A, B, C}, known, "origin") is None
    assert fault(C, {C}, {C}, [], "origin") is None


def test_each_fault_is_a_line_with_both_ways_out() -> None:
    known = [Known(A, "which it pointed to", "forget it")]
    assert str(fault(C, {B, C}, {B, C}, known, "visage")) == (
        "main: was rewritten: cccccccccccc does not contain aaaaaaaaaaaa, which it pointed to; "
        f"git push --force visage {A}:main; if it was meant: forget it"
    )
    assert str(fault(C, {B, C}, {A, B, C}, known, "visage")) == (
        "main: a merge that ends in cccccccccccc made aaaaaaaaaaaa, which it pointed to, a side branch; "
        f"git switch --detach {A} && git merge --no-ff {C} && git push visage HEAD:main; "
        "if it was meant: forget it"
    )


def foxtrot(lab: Lab, start: str) -> str:
    """Push a merge of main into work of one's own, as `git pull && git push` of a colleague does."""
    mine = lab.commit({"notes.md": b"mine\n"}, on=start)
    tree, conflicts = lab.origin.merge_tree(mine, lab.tip)
    assert not conflicts
    merge = lab.origin.commit_tree(tree, [mine, lab.tip], "Merge branch 'main'")
    lab.origin.git("update-ref", "refs/heads/main", merge)
    return merge


@pytest.fixture
def ran(lab: Lab) -> tuple[str, str, str]:
    """The start of main, and two releases that staging ran and verified."""
    start = lab.tip
    lab.train("a")
    first = lab.release("staging")
    lab.train("b")
    return start, first, lab.release("staging")


def refused(lab: Lab, repository: Repository) -> str:
    lab.branch("change", {"README.md": b"x\n"})
    state = fetch_state(repository, lab.remote)
    return "\n".join(map(str, check(repository, state, lab.origin.resolve("change")).findings))


def test_a_merge_that_makes_main_a_side_branch_is_refused_and_repaired_as_the_line_says(
    lab: Lab, tmp_path: Path, ran: tuple[str, str, str]
) -> None:
    start, first, _ = ran
    before = lab.tip
    merge = foxtrot(lab, start)
    fresh = Repository.clone(str(lab.origin.path), tmp_path / "fresh")
    for repository in (lab.clone, fresh):
        state = fetch_state(repository, lab.remote)
        assert "a side branch; git switch --detach" in refused(lab, repository)
        with pytest.raises(RuleError, match="main: a merge that ends in"):
            promote(repository, state, "prod", lab.remote)
        # What ran here before is what was verified here, too.
        assert rollback(repository, state, "staging", lab.remote).after.commit == first
    lab.branch("later", {"README.md": b"y\n"})
    with pytest.raises(RuleError, match="main: a merge that ends in"):
        lab.merge("later")
    assert lab.tip == merge
    repaired = lab.origin.commit_tree(f"{merge}^{{tree}}", [before, merge], "Repair")
    lab.origin.git("update-ref", "refs/heads/main", repaired)
    assert refused(lab, lab.clone) == ""
    assert rollback(lab.clone, lab.state(), "staging", lab.remote).after.commit == first


def test_a_force_push_is_refused_until_somebody_means_it(
    lab: Lab, tmp_path: Path, ran: tuple[str, str, str]
) -> None:
    start = ran[0]
    before = lab.state().tip
    rewritten = lab.commit(model_files("eve"), on=start)
    lab.origin.git("update-ref", "refs/heads/main", rewritten)
    for _ in range(2):
        assert f"was rewritten: {rewritten[:12]} does not contain {before[:12]}" in refused(lab, lab.clone)
    fresh = Repository.clone(str(lab.origin.path), tmp_path / "fresh")
    assert "which dev verified last" in refused(lab, fresh)
    mean_it(lab)
    assert refused(lab, lab.clone) == ""
    assert lab.origin.tags("verified/*") == []


def mean_it(lab: Lab) -> None:
    """Do as the lines say, one after the other."""
    for _ in range(4):
        fault = lab.state().main_fault
        if fault is None:
            return
        lab.clone.git(*shlex.split(fault.remedy.partition("if it was meant: git ")[2]))
    raise AssertionError(fault)


def test_a_file_is_taken_out_of_the_history(lab: Lab) -> None:
    """The same releases then have other ids, under which they are promoted again."""
    start = lab.tip
    lab.land({"scan.bin": b"large"})
    lab.train("a")
    old = lab.release("staging")
    files = {path: lab.origin.read(old, path) for path in model_files("a")}
    declared = lab.origin.read(lab.tip, "environments/staging/release.yaml")
    new = lab.commit(files, on=start)
    tip = lab.commit({"environments/staging/release.yaml": declared}, on=new)
    lab.origin.git("update-ref", "refs/heads/main", tip)
    state = lab.state()
    assert state.same(old, new)
    with pytest.raises(RuleError, match="main: was rewritten"):
        lab.promote("staging")
    mean_it(lab)
    lab.verify("dev", new)
    proposal = lab.promote("staging")
    assert lab.state().same(proposal.after.commit, old)
    assert proposal.after.commit in lab.state().parents
    assert "not on main" in str(lab.state().may_run("staging", old))
    lab.merge("promote/staging")
    with pytest.raises(NothingToDoError, match="already has the release"):
        lab.promote("staging")
