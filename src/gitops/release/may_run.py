"""The one decision whether a commit may run in an environment."""

from gitops import runtime
from gitops.errors import GateError, ReleaseError
from gitops.findings import Finding
from gitops.release import contract
from gitops.release import file as release_file
from gitops.release.forgotten import Forgotten
from gitops.release.snapshot import DAGS, Snapshot


def may_run(
    environment: str, commit: str, release: Snapshot | None, *, on_main: bool, rejection: str | None
) -> Finding | None:
    """Return the reason why a commit may not run in an environment, or None if it may.

    The rules of promotions and rollbacks ask here, and so does the bundle that serves a release. The rules
    ask for more before main may declare a commit. Whatever main declares, nothing else runs.

    Args:
        environment: The environment.
        commit: The full id of a commit.
        release: Its files; None where it is not here.
        on_main: Whether main has it.
        rejection: The tag by which the environment rejected it, and its reason, if it did.

    """
    if fault := served(environment, commit, release, on_main=on_main):
        return fault
    if rejection is None:
        return None
    return Finding(
        release_file.path_of(environment),
        f"{environment} rejected {commit[:12]} ({rejection})",
        "release another commit, or delete that tag to give it another chance",
        rule="rejected",
    )


def served(
    environment: str,
    commit: str,
    release: Snapshot | None,
    *,
    on_main: bool,
    offered: int = runtime.CONTRACT,
) -> Finding | None:
    """Return the reason why a runtime cannot serve a commit, whatever its verdict, or None if it can.

    Args:
        environment: The environment.
        commit: The full id of a commit.
        release: Its files; None where it is not here.
        on_main: Whether main has it.
        offered: The contract of the runtime.

    """
    file = release_file.path_of(environment)
    if release is None or not on_main:
        return Finding(
            file, f"{commit[:12]} is not on main", "name a commit that main pointed to", rule="not-on-main"
        )
    if not release.has_dags:
        return Finding(
            file, f"{commit[:12]} has no folder {DAGS}", "name a commit that has DAGs", rule="no-dags"
        )
    return contract_fault(release, offered=offered)


def contract_fault(release: Snapshot, *, offered: int = runtime.CONTRACT) -> Finding | None:
    """Return the reason why a runtime does not keep the contract that a release needs, or None if it does."""
    try:
        needed = release.contract
    except ReleaseError as error:
        return error.finding
    if needed <= offered:
        return None
    problem = f"{release.commit[:12]} needs runtime contract {needed}, this one is {offered}"
    return Finding(contract.PATH, problem, "roll out a runtime that has it first", rule="runtime-contract")


_NAMED = 3


def lost_data(environment: str, release: Snapshot | None, forgotten: Forgotten) -> Finding | None:
    """Return the reason why main may not declare a release that lost data, or None if it lost none.

    An environment goes on with such a release until it gets another one. But nobody can verify it again, and
    its model has learnt from photographs that somebody asked to delete.

    Args:
        environment: The environment.
        release: The files of the commit; None where it is not here.
        forgotten: The photographs and objects that were deleted, as main has them.

    """
    try:
        lost = forgotten.lost(release.lock) if release else []
    except GateError:
        return None  # `served` and the gates name the fault of its lock
    if release is None or not lost:
        return None
    named = ", ".join(lost[:_NAMED]) + (" ..." if len(lost) > _NAMED else "")
    return Finding(
        release_file.path_of(environment),
        f"{release.commit[:12]} lost data that somebody asked to delete: {named}",
        "release a commit that was trained without it",
        rule="lost-data",
    )
