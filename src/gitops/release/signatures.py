"""Signatures: who may change the release of an environment that requires signed releases.

`environments/allowed_signers` lists them, in the format of ssh-keygen. Whoever may push to main could change
that list too, so its first version is trusted as it is, and each later one only where somebody listed in the
one before has signed the change.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from gitops.git.merge_result import MergeResult
from gitops.git.repository import Repository
from gitops.release.file import Declaration, path_of

SIGNERS = "environments/allowed_signers"


def objection(repository: Repository, declaration: Declaration) -> str | None:
    """Return None if an allowed signer signed the last change of the release file, else the reason.

    The allowed signers are those that were listed before that change.
    """
    path = path_of(declaration.environment)
    signers = trusted(repository, declaration.by)
    if signers is None:
        return f"{path}: {SIGNERS} lists nobody who may sign it; list who may, signed releases are asked for"
    reasons: list[str] = []
    for commit in _authors(repository, declaration.by, path):
        reason = verify(repository, commit, signers)
        if reason is None:
            return None
        reasons.append(reason)
    return f"{path}: {reasons[-1]}; change it in a commit that somebody listed in {SIGNERS} has signed"


def trusted(repository: Repository, tip: str) -> bytes | None:
    """Return the list of signers that holds at a commit of main, or None where there is none."""
    changes = [change.id for change in repository.log(tip, SIGNERS, options=("--first-parent",))]
    contents = repository.read_all([(change, SIGNERS) for change in changes])
    signers: bytes | None = None
    for change, content in reversed(list(zip(changes, contents, strict=True))):
        if signers is None or any(
            verify(repository, commit, signers) is None for commit in _authors(repository, change, SIGNERS)
        ):
            signers = content if content and content.strip() else signers
    return signers


def unsigned(repository: Repository, result: MergeResult, path: str, signers: bytes) -> str | None:
    """Return why nobody in `signers` vouches for a file of a merge, or None where somebody does."""
    last = _last_change(repository, result.main, result.head, path)
    if last is None or repository.tree_id(last, path) != repository.tree_id(result.commit, path):
        return "the merge result is not the content of any commit of the branch"
    return verify(repository, last, signers)


def verify(repository: Repository, commit: str, signers: bytes) -> str | None:
    """Return why a commit carries no valid SSH signature of one of `signers`, or None where it does."""
    # Git would also take a signature of GnuPG by whatever keys this machine happens to have.
    if not signed(repository, commit):
        return f"{commit[:12]} is not signed with an SSH key"
    with tempfile.TemporaryDirectory(prefix="gitops-signers-") as folder:
        file = Path(folder) / "allowed_signers"
        file.write_bytes(signers)
        result = repository.run(
            *("-c", f"gpg.ssh.allowedSignersFile={file}", "-c", "gpg.ssh.program=ssh-keygen"),
            *("verify-commit", commit),
        )
    if result.returncode == 0:
        return None
    lines = [line for line in result.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    reason = lines[-1] if lines else "no reason given"
    return f"{commit[:12]} has no valid signature of a listed signer ({reason})"


def signed(repository: Repository, commit: str) -> bool:
    """Whether a commit carries an SSH signature at all, valid or not."""
    header = repository.git("cat-file", "commit", commit).partition("\n\n")[0]
    return "\ngpgsig -----BEGIN SSH SIGNATURE-----\n" in header


def _authors(repository: Repository, change: str, path: str) -> Iterator[str]:
    """Return the commits whose signature covers the content that `change`, a commit of main, gave a file.

    That is itself, or, where it merged a branch, the last commit of that branch to touch the file: one that
    main did not have before, so that an old signature cannot be used again.
    """
    yield change
    before, *merged = repository.git("show", "--no-patch", "--format=%P", change).split() or [""]
    for parent in merged:
        last = _last_change(repository, before, parent, path)
        if last and repository.tree_id(last, path) == repository.tree_id(change, path):
            yield last


def _last_change(repository: Repository, base: str, head: str, path: str) -> str | None:
    return repository.git("rev-list", "-1", head, f"^{base}", "--", path) or None
