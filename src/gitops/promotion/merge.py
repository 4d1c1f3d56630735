"""Merge a branch into `main`, like the merge button of a forge, for a team without a forge."""

from dataclasses import dataclass

from gitops.errors import NothingToDoError, PushRejectedError, RuleError
from gitops.findings import Finding
from gitops.git.merge_result import MergeResult, merge_result
from gitops.git.repository import Repository
from gitops.promotion.change import Change
from gitops.promotion.check import judge
from gitops.promotion.evidence import Evidence
from gitops.promotion.judgement import Judgement, RefusedError
from gitops.release.load import fetch_state
from gitops.release.state import ReleaseState
from gitops.text import instructions

PROPOSALS = (
    "promote/",
    "promote-wave/",
    "rollback/",
    "hold/",
    "unhold/",
    "release-hold/",
    "shadow/",
    "canary/",
    "storage/",
)
"""The branches that `gitops promote` and its like push; earlier versions called `unhold/` `release-hold/`."""
_ATTEMPTS = 2


@dataclass(frozen=True)
class Merged:
    """A merge: the commit that main became, and the judgement that allowed it."""

    commit: str
    judgement: Judgement


def check(
    repository: Repository, state: ReleaseState, head: str, evidence: Evidence | None = None
) -> Judgement:
    """Judge whether the commit `head` may be merged into main."""
    result, broken = merge_result(repository, state.tip, head, remote=state.remote)
    return Judgement(tuple(broken)) if result is None else judge_result(repository, state, result, evidence)


def judge_result(
    repository: Repository, state: ReleaseState, result: MergeResult, evidence: Evidence | None = None
) -> Judgement:
    """Judge whether main may become the result of a merge."""
    change = Change.load(repository, state, result)
    return judge(state, change, evidence or Evidence.of(repository))


def merge(
    repository: Repository,
    remote: str,
    branch: str,
    *,
    main: str = "main",
    evidence: Evidence | None = None,
) -> Merged:
    """Merge a branch of `remote` into main with a merge commit, judge that, and push it.

    A branch that `gitops promote` and its like made is deleted with the same push: it has done its work.

    Raises:
        RuleError: with every broken rule, or the files in conflict. Nothing is pushed then.
        NothingToDoError: if main has it already.
        PushRejectedError: if main keeps moving, or the remote does not let this user push to it.

    """
    for attempt in range(1, _ATTEMPTS + 1):
        state = fetch_state(repository, remote, main=main)
        reference = repository.branch_ref(remote, branch)
        if branch == main:
            problem, remedy = "is the branch that others are merged into", "name the branch to merge"
            branches = f"git ls-remote --heads {remote}"
            raise RuleError(Finding(branch, problem, remedy, rule="no-such-branch", command=branches))
        if not repository.has(reference):
            problem = f"no such branch on {remote} that could be merged"
            made = instructions.of_branch(branch)
            remedy = "make it first" if made else "push it first"
            command = made or instructions.push(remote, branch)
            raise RuleError(Finding(branch, problem, remedy, rule="no-such-branch", command=command))
        head = repository.resolve(reference)
        if repository.is_ancestor(head, state.tip):
            raise NothingToDoError(f"{branch} is already part of {main}")
        message = _message(repository, head, branch)
        result, broken = merge_result(repository, state.tip, head, message, remote=remote, branch=branch)
        judgement = judge_result(repository, state, result, evidence) if result else Judgement(tuple(broken))
        if result is None or judgement.findings:
            raise RefusedError(judgement)
        # The commit that was judged, and no other.
        commit = result.commit
        refs: dict[str, str | None] = {f"refs/heads/{main}": commit}
        leases: dict[str, str | None] = {f"refs/heads/{main}": state.tip}
        if branch.startswith(PROPOSALS):
            refs[f"refs/heads/{branch}"] = None
            leases[f"refs/heads/{branch}"] = head
        try:
            repository.push(remote, refs, leases=leases)
        except PushRejectedError:
            if attempt == _ATTEMPTS:
                raise
            continue
        # `gitops` alone shows the releases without another fetch.
        repository.git("update-ref", repository.branch_ref(remote, main), commit)
        return Merged(commit, judgement)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _message(repository: Repository, head: str, branch: str) -> str:
    return f"Merge {branch}: {repository.commit_info(head).subject}\n"
