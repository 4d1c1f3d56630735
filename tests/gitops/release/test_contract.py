import pytest

from gitops import runtime
from gitops.errors import ReleaseError
from gitops.promotion.check import check
from gitops.release import contract
from tests.support.lab import Lab

NEXT = runtime.CONTRACT + 1


def test_a_release_without_the_file_needs_none(lab: Lab) -> None:
    assert contract.needed(lab.clone, lab.tip) == 0
    assert contract.objection(lab.clone, lab.tip, offered=0) is None


def test_a_release_of_a_newer_contract_is_refused_in_one_line(lab: Lab) -> None:
    commit = lab.land({contract.PATH: b"contract: %d\n" % NEXT})
    lab.clone.fetch("origin")
    assert contract.needed(lab.clone, commit) == NEXT
    assert contract.objection(lab.clone, commit, offered=NEXT) is None
    assert contract.objection(lab.clone, commit) == (
        f"{commit[:12]}: needs runtime contract {NEXT}, this one is {runtime.CONTRACT}"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"contract:",
        b"contract: -1",
        b"contract: 1.5",
        b"contract: many",
        b"contract: [1]",
        b"[",
        b"1",
        b"contract: 1\nother: 2",
        b"contract: 1\ncontract: 2",
        b"contract: 99999999999",
        "contract: \u0661".encode(),
        b"\xff",
    ],
)
def test_a_file_that_states_no_contract_is_refused_in_one_line(lab: Lab, content: bytes) -> None:
    commit = lab.land({contract.PATH: content})
    lab.clone.fetch("origin")
    with pytest.raises(ReleaseError) as caught:
        contract.needed(lab.clone, commit)
    assert "dags/runtime.yaml" in str(caught.value)
    assert "write `contract: <number>`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contract.objection(lab.clone, commit) == str(caught.value)


def test_check_refuses_dags_that_this_runtime_could_not_serve(lab: Lab) -> None:
    head = lab.branch("newer", {contract.PATH: b"contract: %d\n" % NEXT})
    [broken] = check(lab.state(), head).findings
    assert f"needs runtime contract {NEXT}" in str(broken)
    assert "roll out a runtime" in str(broken)
    head = lab.branch("same", {contract.PATH: b"contract: %d\n" % runtime.CONTRACT})
    assert check(lab.state(), head).findings == ()
