"""Signatures: who may change a release that must be signed, and whose verdicts count.

`environments/allowed_signers` lists the people, `environments/<env>/verifiers` the keys of an environment,
both in the format of ssh-keygen. Whoever may push to main could change these lists too. So the first version
of a list is trusted as it is, and each later one only where somebody in the version before has signed the
change. People on the list of signers may sign a change of `verifiers` too; once there is that list, they must
sign its first version.

A trust root is a commit of main that an environment, or a checkout, was started with. The lists of that
commit are trusted as they are, and main counts only where it grew out of it.
"""

import os
import re
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from gitops.errors import GitError
from gitops.git.merge_result import MergeResult
from gitops.git.objects import is_full_sha
from gitops.git.repository import Repository
from gitops.release import keys
from gitops.release.file import Declaration, path_of
from gitops.release.keys import KeyList

SIGNERS = "environments/allowed_signers"
TRUST_ROOT = "VISAGE_TRUST_ROOT"
"""The trust root of a process: a commit, or the absolute path of a file that holds it."""

LARGEST = 65_536
"""The bytes of a list that counts."""
_KEY_TYPE = re.compile(r"(?:ssh|ecdsa|sk)-")
# Asked once for each tag.
_read = lru_cache(maxsize=64)(KeyList.read)
_GOOD = re.compile(r'^Good "git" signature for (\S+) with \S+ key \S+$', re.MULTILINE)
# Each of these could make git take another program or another list, or refuse a listed key.
_VERIFYING = {
    "gpg.minTrustLevel": "undefined",
    # Git joins all signatures of a commit, and the kind of the first decides which program it asks.
    "gpg.openpgp.program": "false",
    "gpg.program": "false",
    "gpg.ssh.program": "ssh-keygen",
    "gpg.x509.program": "false",
    "gpg.ssh.revocationFile": os.devnull,
}


@dataclass(frozen=True)
class Lists:
    """The lists that count at a commit of main.

    Attributes:
        signers: The people who may sign, or None if nobody is listed.
        verifiers: The keys of each environment that has any.
        problem: The reason why no list counts.

    """

    signers: bytes | None = None
    verifiers: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    problem: str | None = None

    def keys(self, environment: str) -> KeyList | None:
        """Return the keys of an environment, or None if none are listed."""
        content = self.verifiers.get(environment)
        return None if content is None else _read(content)


class Trust:
    """The lists of a main, and who may change them."""

    def __init__(
        self, repository: Repository, tip: str, environments: Iterable[str], root: str | None = None
    ) -> None:
        """Look at main as it is at `tip`, with the keys of `environments` and the trust root `root`."""
        self.repository = repository
        self.tip = tip
        self.root = root
        self._paths = {SIGNERS: None, **{keys.path_of(name): name for name in environments}}

    @classmethod
    def load(
        cls, repository: Repository, tip: str, environments: Iterable[str], *, remote: str | None = None
    ) -> "Trust":
        """Look at main as it is at `tip`, with the trust root of the process or of the remote."""
        return cls(repository, tip, environments, configured_root(repository, remote))

    @cached_property
    def lists(self) -> Lists:
        """The lists that count now."""
        problem = self._uprooted()
        return self.at(self.tip) if problem is None else Lists(problem=problem)

    def at(self, commit: str) -> Lists:
        """Return the lists that counted at a commit of main; before the trust root, those of the root."""
        root = self.root
        revision = commit if root is None else f"{root}..{commit}"
        options = ("--first-parent", "--reverse", "--end-of-options", revision, "--", *self._paths)
        changes = self.repository.git("rev-list", *options).split()
        contents = self._contents([*([root] if root else []), *changes])
        before: dict[str, bytes | None] = {} if root is None else contents.pop(0)
        trusted = {path: content for path, content in before.items() if content and _lists(content)}
        for change, present in zip(changes, contents, strict=True):
            trusted |= {
                path: content
                for path, content in present.items()
                if content
                and _lists(content)
                and content != before.get(path)
                and self._accepts(trusted, path, change)
            }
            before = present
        verifiers = {
            name: trusted[path] for path, name in self._paths.items() if name is not None and path in trusted
        }
        return Lists(trusted.get(SIGNERS), verifiers)

    def refuses(self, result: MergeResult, path: str) -> str | None:
        """Return why a merge's change of a list would not count, or None if it would."""
        lists = self.lists
        listed = {
            SIGNERS: lists.signers,
            **{keys.path_of(name): text for name, text in lists.verifiers.items()},
        }
        may_sign = [content for name in dict.fromkeys((SIGNERS, path)) if (content := listed.get(name))]
        return unsigned(self.repository, result, path, b"\n".join(may_sign)) if may_sign else None

    def _uprooted(self) -> str | None:
        """Return why main does not count, or None if it does."""
        root, repository = self.root, self.repository
        if root is None:
            return None
        if not is_full_sha(root):
            return f"{TRUST_ROOT}: {root[:200]}: not the full id of a commit of main; name one that you trust"
        try:
            grown = repository.leads_to(root, self.tip)
        except GitError:
            if repository.has(root):
                raise
            return f"{TRUST_ROOT}: there is no commit {root[:12]} here; fetch the whole history of main"
        if not grown:
            return (
                f"main did not grow out of its trust root {root[:12]}; put it back, or trust a later commit: "
                f"{TRUST_ROOT}"
            )
        return None

    def _contents(self, commits: list[str]) -> list[dict[str, bytes | None]]:
        names = [(commit, path) for commit in commits for path in self._paths]
        contents = dict(zip(names, self.repository.read_all(names, LARGEST), strict=True))
        return [{path: contents[commit, path] for path in self._paths} for commit in commits]

    def _accepts(self, trusted: Mapping[str, bytes], path: str, change: str) -> bool:
        may_sign = [trusted[name] for name in dict.fromkeys((SIGNERS, path)) if name in trusted]
        if not may_sign:
            return True
        allowed = b"\n".join(may_sign)
        repository = self.repository
        return any(
            verify(repository, commit, allowed) is None for commit in _authors(repository, change, path)
        )


def configured_root(repository: Repository, remote: str | None) -> str | None:
    """Return the trust root: that of the process, or of the remote in the configuration of the checkout."""
    value = os.environ.get(TRUST_ROOT, "")
    if not value:
        value = repository.setting(
            "visage.trustroot" if remote is None else f"remote.{remote}.trustroot"
        ).strip()
    if not value.startswith("/"):
        return value or None
    try:
        with Path(value).open("rb") as file:
            return file.read(100).decode("utf-8", "replace").strip()
    except OSError as error:
        return f"{value}: {error.strerror}"


def objection(trust: Trust, declaration: Declaration) -> str | None:
    """Return None if an allowed signer signed the last change of the release file, else the reason.

    The allowed signers are those that were listed before that change.
    """
    path = path_of(declaration.environment)
    signers = trust.at(declaration.by).signers
    if signers is None:
        return f"{path}: {SIGNERS} lists nobody who may sign it; list who may, signed releases are asked for"
    reasons: list[str] = []
    for commit in _authors(trust.repository, declaration.by, path):
        reason = verify(trust.repository, commit, signers)
        if reason is None:
            return None
        reasons.append(reason)
    return f"{path}: {reasons[-1]}; change it in a commit that somebody listed in {SIGNERS} has signed"


def unsigned(repository: Repository, result: MergeResult, path: str, signers: bytes) -> str | None:
    """Return why nobody in `signers` vouches for a file of a merge, or None where somebody does."""
    last = _voucher(repository, result.main, result.head, path, repository.tree_id(result.commit, path))
    if last is None:
        return "the merge result is not the content of any commit of the branch, made on the file as it is"
    return verify(repository, last, signers)


def verify(repository: Repository, commit: str, signers: bytes) -> str | None:
    """Return why a commit carries no valid SSH signature of one of `signers`, or None where it does."""
    # Git would also take a signature of GnuPG by whatever keys this machine happens to have.
    if not signed(repository, commit):
        return f"{commit[:12]} is not signed with an SSH key"
    person, problem = signer(repository, "verify-commit", commit, signers)
    return f"{commit[:12]} {problem}" if person is None else None


def signer(
    repository: Repository, command: Literal["verify-commit", "verify-tag"], name: str, signers: bytes
) -> tuple[str | None, str]:
    """Return the addresses of the person whose key signed an object, as the list of `signers` has them.

    Returns:
        The addresses and ""; where nobody on the list did, None and the problem.

    """
    with verifying(signers) as config:
        result = repository.run(command, name, config=config)
    text = result.stderr.decode("utf-8", "replace")
    if result.returncode == 0 and (match := _GOOD.search(text)):
        return match[1], ""
    lines = [line for line in text.splitlines() if line.strip()]
    return None, f"has no valid signature of a listed signer ({lines[-1] if lines else 'no reason given'})"


@contextmanager
def verifying(signers: bytes) -> Generator[dict[str, str]]:
    """Provide the configuration by which git verifies signatures of the people on a list, and no others."""
    with tempfile.TemporaryDirectory(prefix="gitops-signers-") as folder:
        file = Path(folder) / "allowed_signers"
        file.write_bytes(signers)
        yield {**_VERIFYING, "gpg.ssh.allowedSignersFile": str(file)}


def signed(repository: Repository, commit: str) -> bool:
    """Whether a commit carries an SSH signature at all, valid or not."""
    header = repository.git("cat-file", "commit", commit).partition("\n\n")[0]
    return "\ngpgsig -----BEGIN SSH SIGNATURE-----\n" in header


def people(signers: bytes) -> frozenset[frozenset[str]]:
    """Return the people of a list of signers, each as the set of their addresses.

    Lines with an address or a key in common are those of one person. A list that is too large names none.
    """
    if len(signers) > LARGEST:
        return frozenset()
    persons: list[frozenset[str]] = []
    for line in signers.decode("utf-8", "replace").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        kind = next((place for place, word in enumerate(words) if _KEY_TYPE.match(word)), len(words))
        # An address has no blank, so the key cannot be taken for one.
        names = frozenset(words[0].lower().split(",")) | {" ".join(words[kind : kind + 2])}
        same = [person for person in persons if person & names]
        persons = [person for person in persons if person not in same] + [names.union(*same)]
    return frozenset(frozenset(name for name in person if " " not in name) for person in persons)


def _lists(content: bytes) -> bool:
    return re.search(rb"^[^#\s]", content, re.MULTILINE) is not None


def _authors(repository: Repository, change: str, path: str) -> Iterator[str]:
    """Return the commits whose signature covers the content that `change`, a commit of main, gave a file.

    That is itself, or, where it merged a branch, the last commit of that branch to touch the file.
    """
    yield change
    before, *merged = repository.git("show", "--no-patch", "--format=%P", change).split() or [""]
    for parent in merged:
        if last := _voucher(repository, before, parent, path, repository.tree_id(change, path)):
            yield last


def _voucher(repository: Repository, before: str, head: str, path: str, content: str | None) -> str | None:
    """Return the last commit of a branch to change a file, if it gave main this content.

    Its signature counts only for the state that it changed: the file as it was on main right before the
    merge, in a history that has the last change of the file on main. So it cannot be used a second time.
    """
    last = repository.git("rev-list", "-1", head, f"^{before}", "--", path)
    if not last or repository.tree_id(last, path) != content:
        return None
    changed, present = repository.object_ids([f"{last}^1:{path}", f"{before}:{path}"])
    known = repository.git("rev-list", "--first-parent", "-1", before, "--", path)
    if changed != present or (known and not repository.is_ancestor(known, last)):
        return None
    return last
