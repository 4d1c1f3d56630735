"""The pull request with newer versions of the locked packages."""

import re

from gitops.errors import ForgeError
from gitops.forge.interface import Forge
from gitops.git.repository import Repository

LOCK = "requirements.lock"
BRANCH = "update/python"
_LINE = re.compile(
    r"""(?x)
    \s*\#.* |                                        # a comment
    [A-Za-z0-9][\w.-]*==[\w.+!-]+(\s*;[\w\s.'"<>=!()]*)?(\s\\)? |  # a version, with a marker
    \s+--hash=sha256:[0-9a-f]{64}(\s\\)? |            # a digest
    \s*
    """
)
_BODY = """\
Newer versions of the locked packages, as `make lock` resolves them. The checks run with these versions.

{measured}

| package | main | this branch |
|---|---|---|
"""


def check(content: bytes) -> None:
    """Refuse a lock that is more than versions and digests: another line may name another source of packages.

    Raises:
        ForgeError: with the first such line.

    """
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if not _LINE.fullmatch(line):
            raise ForgeError(
                f"{LOCK}:{number}: neither a version, nor a digest, nor a comment; run make lock"
            )


def propose(
    forge: Forge, repository: Repository, main: str, remote: str, content: bytes, measured: str = ""
) -> str:
    """Open or update the pull request with a new lock, or close it if main has the same.

    Args:
        forge: The repository on its forge.
        repository: The checkout.
        main: The newest commit of main.
        remote: The remote.
        content: The new lock.
        measured: The changes in decisions, speed and size, as Markdown.

    Returns:
        The result, for a person.

    """
    check(content)
    before = repository.read(main, LOCK) or b""
    if content == before:
        if present := forge.find(BRANCH):
            forge.close(present, "main has these versions already.")
        return "up to date"
    reference = f"refs/heads/{BRANCH}"
    known = repository.remote_refs(remote, reference).get(reference)
    there = repository.branch_ref(remote, BRANCH)
    if known is None or not repository.is_ancestor(main, there) or repository.read(there, LOCK) != content:
        commit = repository.commit_files(main, {LOCK: content}, "Update the locked packages")
        repository.push(remote, {reference: commit}, leases={reference: known})
    old, new = _versions(before), _versions(content)
    rows = [
        f"| {name} | {old.get(name, '')} | {new.get(name, '')} |"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    body = _BODY.format(measured=measured) + "\n".join(rows) + "\n"
    kept, done = forge.keep(BRANCH, "Update the locked packages", body)
    return f"{done}, {kept.url}"


def _versions(lock: bytes) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9][\w.-]*)==([\w.+!-]+)", lock.decode(), re.MULTILINE))
