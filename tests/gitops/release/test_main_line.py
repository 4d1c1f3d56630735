"""A main that is not the line that is known: a force push, or a merge that makes main a side branch."""

from pathlib import Path

import pytest

from gitops.errors import RuleError
from gitops.git.repository import Repository
from gitops.promotion.check import check
from gitops.promotion.proposals import rollback
from gitops.release.main_line import Known, fault
from gitops.release.state import ReleaseState
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
        "main: was rewritten: cccccccccccc does not contain aaaaaaaaaaaa, which it pointed to; restore it: "
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


def refused(lab: Lab, state: ReleaseState) -> str:
    lab.branch("change", {"README.md": b"x\n"})
    state.repository.fetch(lab.remote)
    return "\n".join(map(str, check(state, lab.origin.resolve("change")).findings))


def test_a_merge_that_makes_main_a_side_branch_is_refused_and_repaired_as_the_line_says(
    lab: Lab, tmp_path: Path, ran: tuple[str, str, str]
) -> None:
    start, first, _ = ran
    before = lab.tip
    merge = foxtrot(lab, start)
    fresh = Repository.clone(str(lab.origin.path), tmp_path / "fresh")
    for state in (lab.state(), ReleaseState.fetch(fresh, lab.remote)):
        assert "a side branch; git switch --detach" in refused(lab, state)
        # What ran here before is what was verified here, too.
        assert rollback(state, "staging", lab.remote).after.commit == first
    lab.branch("later", {"README.md": b"y\n"})
    with pytest.raises(RuleError, match="main: a merge that ends in"):
        lab.merge("later")
    assert lab.tip == merge
    repaired = lab.origin.commit_tree(f"{merge}^{{tree}}", [before, merge], "Repair")
    lab.origin.git("update-ref", "refs/heads/main", repaired)
    assert refused(lab, lab.state()) == ""
    assert rollback(lab.state(), "staging", lab.remote).after.commit == first


def test_a_force_push_is_refused_until_somebody_means_it(
    lab: Lab, tmp_path: Path, ran: tuple[str, str, str]
) -> None:
    start = ran[0]
    before = lab.state().tip
    rewritten = lab.commit(model_files("eve"), on=start)
    lab.origin.git("update-ref", "refs/heads/main", rewritten)
    for _ in range(2):
        state = lab.state()
        assert f"was rewritten: {rewritten[:12]} does not contain {before[:12]}" in refused(lab, state)
    fresh = Repository.clone(str(lab.origin.path), tmp_path / "fresh")
    assert "which dev verified last" in refused(lab, ReleaseState.fetch(fresh, lab.remote))
    # As the lines say, one after the other
    lab.clone.git("update-ref", "-d", "refs/gitops/origin/known/main")
    for environment in ("dev", "staging"):
        for tag in lab.origin.tags(f"verified/{environment}"):
            lab.origin.git("update-ref", "-d", f"refs/tags/{tag.name}")
    assert refused(lab, lab.state()) == ""
