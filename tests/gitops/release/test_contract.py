import pytest

from gitops import runtime
from gitops.errors import ReleaseError
from gitops.promotion.merge import check
from gitops.release import contract
from gitops.release.may_run import contract_fault
from gitops.release.snapshot import Snapshot
from tests.support.lab import Lab
from tests.support.snapshots import release

NEXT = runtime.CONTRACT + 1


def test_a_release_without_the_file_needs_none(lab: Lab) -> None:
    assert contract.needed(None) == 0
    assert contract_fault(Snapshot.load(lab.clone, lab.tip), offered=0) is None


def test_a_release_of_a_newer_contract_is_refused_in_one_line() -> None:
    newer = release({contract.PATH: b"contract: %d\n" % NEXT})
    assert newer.contract == NEXT
    assert contract_fault(newer, offered=NEXT) is None
    assert str(contract_fault(newer)) == (
        f"dags/runtime.yaml: {newer.commit[:12]} needs runtime contract {NEXT}, this one is "
        f"{runtime.CONTRACT}; roll out a runtime that has it first"
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
def test_a_file_that_states_no_contract_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(ReleaseError) as caught:
        contract.needed(content)
    assert "dags/runtime.yaml" in str(caught.value)
    assert "write `contract: <number>`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contract_fault(release({contract.PATH: content})) == caught.value.finding


def test_check_refuses_dags_that_this_runtime_could_not_serve(lab: Lab) -> None:
    head = lab.branch("newer", {contract.PATH: b"contract: %d\n" % NEXT})
    [broken] = check(lab.clone, lab.state(), head).findings
    assert f"needs runtime contract {NEXT}" in str(broken)
    assert "roll out a runtime" in str(broken)
    head = lab.branch("same", {contract.PATH: b"contract: %d\n" % runtime.CONTRACT})
    assert check(lab.clone, lab.state(), head).findings == ()
