"""Merge a branch into `main`: what the merge button of a forge does, for a team without one."""

import tempfile
from pathlib import Path

from gitops.check import check
from gitops.comparison import Compare
from gitops.errors import GitError, NothingToDoError, PushRejectedError, RuleError
from gitops.ledger import Ledger
from gitops.repository import Repository
from gitops.storage import Storage

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
    """Check a branch of `remote`, merge it into main with a merge commit, push that and return its id.

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
        if broken := check(ledger, head):
            raise RuleError("\n".join(map(str, broken)))
        commit = _merge(repository, ledger.tip, head, branch)
        refs: dict[str, str | None] = {f"refs/heads/{main}": commit}
        leases: dict[str, str | None] = {}
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


def _merge(repository: Repository, tip: str, head: str, branch: str) -> str:
    """Merge two commits in a throw-away clone that borrows the objects, and bring the result back."""
    with tempfile.TemporaryDirectory(prefix="gitops-merge-") as folder:
        clone = Repository.clone(
            str(repository.path.resolve()), Path(folder) / "clone", "--shared", "--no-checkout"
        )
        clone.git("config", "core.hooksPath", "/dev/null")
        clone.git("checkout", "--quiet", "--detach", tip, timeout=300)
        try:
            clone.git(
                "merge",
                "--quiet",
                "--no-ff",
                "--no-gpg-sign",
                "--no-verify",
                "-m",
                _message(repository, head, branch),
                head,
                timeout=300,
                env=repository.identity(),
            )
        except GitError as error:
            listed = clone.git("diff", "--name-only", "--diff-filter=U", "-z")
            files = ", ".join(name for name in listed.split("\0") if name)
            if not files:
                raise
            raise RuleError(
                f"{branch}: conflicts with main in {files}; merge main into the branch, or propose it again"
            ) from error
        commit = clone.resolve("HEAD")
        repository.fetch_refs(str(clone.path), commit)
        return commit


def _message(repository: Repository, head: str, branch: str) -> str:
    return f"Merge {branch}: {repository.commit_info(head).subject}\n"
