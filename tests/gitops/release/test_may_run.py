import pytest

from gitops import runtime
from gitops.release import contract
from gitops.release.may_run import may_run, served
from gitops.release.snapshot import Snapshot
from tests.support.snapshots import release

REJECTION = "rejected/staging/x"
GOOD = release({})
WITHOUT_DAGS = Snapshot(GOOD.commit, GOOD.contents, has_dags=False)
NEWER = release({contract.PATH: b"contract: %d\n" % (runtime.CONTRACT + 1)})


def test_a_release_of_main_with_dags_may_run() -> None:
    assert may_run("staging", GOOD.commit, GOOD, on_main=True, rejection=None) is None


@pytest.mark.parametrize(
    ("commit", "on_main", "says"),
    [
        (None, True, "is not on main; name a commit that main pointed to"),
        (GOOD, False, "is not on main; name a commit that main pointed to"),
        (WITHOUT_DAGS, True, "has no folder dags; name a commit that has DAGs"),
        (NEWER, True, f"needs runtime contract {runtime.CONTRACT + 1}"),
        (release({contract.PATH: b"x"}), True, "dags/runtime.yaml: not a contract"),
    ],
)
def test_a_commit_that_no_runtime_here_serves(commit: Snapshot | None, on_main: bool, says: str) -> None:
    fault = served("staging", "a" * 40, commit, on_main=on_main)
    assert says in str(fault)
    assert may_run("staging", "a" * 40, commit, on_main=on_main, rejection=REJECTION) == fault


def test_a_rejected_release_may_be_served_and_may_not_run() -> None:
    assert served("staging", GOOD.commit, GOOD, on_main=True) is None
    fault = may_run("staging", GOOD.commit, GOOD, on_main=True, rejection=REJECTION)
    assert str(fault).startswith(
        f"environments/staging/release.yaml: staging rejected {GOOD.commit[:12]} (rejected/staging/x); "
    )
