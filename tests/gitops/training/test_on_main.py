import pytest

from gitops.errors import NothingToDoError, RuleError
from gitops.training.on_main import on_main
from tests.support.figures import model_files
from tests.support.lab import Lab

POINTER = "data/labelled/late.parquet.dvc"


@pytest.fixture
def candidate(lab: Lab) -> str:
    """A candidate that was trained from an earlier main, with a batch, after which main got another model."""
    release = lab.train("a")
    batch = {POINTER: b"outs:\n- path: late.parquet\n"}
    head = lab.branch("candidate/b", model_files("b", 0.95) | batch, on=release)
    lab.train("c")
    lab.clone.fetch(lab.remote)
    return head


def test_the_inputs_of_a_candidate_are_put_on_main(lab: Lab, candidate: str) -> None:
    made = on_main(lab.clone, lab.tip, candidate)
    assert lab.clone.changed(lab.tip, made) == [POINTER]
    assert lab.clone.read(made, POINTER) == lab.clone.read(candidate, POINTER)
    assert lab.clone.git("rev-parse", f"{made}^") == lab.tip


def test_the_refusal_to_merge_two_locks_names_the_command(lab: Lab, candidate: str) -> None:
    with pytest.raises(RuleError, match=r"conflicts with main in dvc\.lock") as caught:
        lab.merge("candidate/b")
    assert "gitops train candidate/b --wait --on-main" in str(caught.value)


def test_a_file_that_both_changed_is_a_conflict(lab: Lab, candidate: str) -> None:
    main = lab.land({POINTER: b"another\n"})
    lab.clone.fetch(lab.remote)
    with pytest.raises(RuleError, match=f"conflicts with main in {POINTER}; merge main into the branch"):
        on_main(lab.clone, main, candidate)
    same = lab.land({POINTER: lab.clone.read(candidate, POINTER)})
    lab.clone.fetch(lab.remote)
    with pytest.raises(NothingToDoError, match="nothing but the results of a training: train main"):
        on_main(lab.clone, same, candidate)


def test_a_file_that_a_branch_deletes_is_deleted(lab: Lab) -> None:
    head = lab.branch("feature", {"README.md": None})
    lab.train("c")
    lab.clone.fetch(lab.remote)
    made = on_main(lab.clone, lab.tip, head)
    assert lab.clone.changed(lab.tip, made) == ["README.md"]


def test_histories_that_never_met_are_refused(lab: Lab) -> None:
    alone = lab.origin.commit_files(None, {"x": b""}, "Alone")
    lab.origin.git("update-ref", "refs/heads/alone", alone)
    lab.clone.fetch(lab.remote)
    with pytest.raises(RuleError, match="shares no history with main"):
        on_main(lab.clone, lab.tip, alone)
