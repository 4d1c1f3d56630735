"""Merge a branch into `main`: what the merge button of a forge does, for a team without one."""

from gitops.dvc.remote import Storage
from gitops.errors import NothingToDoError, PushRejectedError, RuleError
from gitops.gates.comparison import Compare
from gitops.git.repository import Repository
from gitops.promotion.check import judge
from gitops.promotion.merge_result import merge_result
from gitops.release.state import Ledger

PROPOSALS = ("promote/", "rollback/", "release-hold/")
_ATTEMPTS = 2


def merge(
    repository: Repository,
    remote: str,
    branch: str,
    *,
    main: str = "main",
    storage: Storage | None = None,
    compare: Compare | None = None,
) -> str:
    """Merge a branch of `remote` into main with a merge commit, judge that, push it and return its id.

    A branch that `gitops promote` and its like made is deleted with the same push: it has done its work.

    :raises RuleError: with every broken rule, or the files in conflict. Nothing is pushed then.
    :raises NothingToDoError: when main has it already.
    :raises PushRejectedError: when main keeps moving, or the remote does not let this user push to it.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        ledger = Ledger.fetch(repository, remote, main=main, storage=storage, compare=compare)
        reference = repository.branch_ref(remote, branch)
        if branch == main or not repository.has(reference):
            raise RuleError(f"{branch}: no such branch on {remote} that could be merged; push it first")
        head = repository.resolve(reference)
        if repository.is_ancestor(head, ledger.tip):
            raise NothingToDoError(f"{branch} is already part of {main}")
        message = _message(repository, head, branch)
        result, broken = merge_result(repository, ledger.tip, head, message, remote=remote)
        if result is not None:
            broken = judge(ledger, result)
        if result is None or broken:
            raise RuleError("\n".join(map(str, broken)))
        # The commit that was judged, and no other.
        commit = result.commit
        refs: dict[str, str | None] = {f"refs/heads/{main}": commit}
        leases: dict[str, str | None] = {f"refs/heads/{main}": ledger.tip}
        if branch.startswith(PROPOSALS):
            refs[f"refs/heads/{branch}"] = None
            leases[f"refs/heads/{branch}"] = head
        try:
            repository.push(remote, refs, leases=leases)
        except PushRejectedError:
            if attempt == _ATTEMPTS:
                raise
            continue
        return commit
    raise AssertionError("unreachable: the last attempt returns or raises")


def _message(repository: Repository, head: str, branch: str) -> str:
    return f"Merge {branch}: {repository.commit_info(head).subject}\n"
