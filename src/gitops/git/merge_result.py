"""The merge of a branch into main: the commit that `gitops check` judges and `gitops merge` pushes.

A branch is never judged by itself. Two trees that are harmless alone can make a third one that is not, and
git commands differ in how they read a tree that git itself would not write.
"""

import posixpath
import re
import tempfile
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gitops.errors import GitError
from gitops.findings import Finding
from gitops.git import trial_checkout
from gitops.git.objects import Entry
from gitops.git.repository import Repository
from gitops.paths import LOCK
from gitops.text import instructions

_HISTORY = "history"
_LINK, _SUBMODULE = "120000", "160000"
_LONGEST_NAME, _LONGEST_LINK = 255, 4096
_MOST_NAMED = 5
_HOPS = 40
_ANEW = "make its commits again with git on a branch off main"


@dataclass(frozen=True)
class MergeResult:
    """The result of merging a branch into main.

    Attributes:
        main: The commit of main that the branch would be merged into.
        head: The last commit of the branch.
        commit: The merge commit, which no reference names yet; `main` itself where it has the branch already.

    """

    main: str
    head: str
    commit: str


def merge_result(
    repository: Repository,
    main: str,
    head: str,
    message: str = "Merge result\n",
    *,
    remote: str | None = None,
    branch: str = "BRANCH",
) -> tuple[MergeResult | None, list[Finding]]:
    """Merge the commit `head` into the commit `main`, without a checkout.

    Args:
        repository: Has both commits.
        main: The commit of main.
        head: The commit to merge.
        message: The message of the merge commit.
        remote: The remote that main is on, and
        branch: the branch, for the commands that a line recommends.

    Returns:
        The result, and the problems that prevent it. There is no result if git cannot merge.

    """
    bases = repository.merge_bases(main, head)
    if bases == [head]:
        return MergeResult(main, head, main), []
    if not bases:
        return None, [
            Finding(
                _HISTORY,
                "this branch shares no history with main",
                "branch off main",
                rule="no-shared-history",
            )
        ]
    pull = f"git pull --no-rebase {remote or 'origin'} main"
    again = "merge main into the branch, or propose it again"
    if len(bases) > 1:
        shown = ", ".join(base[:12] for base in sorted(bases)[:_MOST_NAMED])
        problem = f"this branch left main at {len(bases)} commits ({shown})"
        return None, [Finding(_HISTORY, problem, again, rule="several-bases", command=pull)]
    if broken := list(_broken_objects(repository, main, head)):
        return None, broken
    tree, conflicts = repository.merge_tree(main, head)
    if conflicts:
        remedy, command = again, pull
        if LOCK in conflicts:
            # Nobody can merge two locks.
            remedy, command = "train it on main as it is now", instructions.train(branch, "--on-main")
        return None, [
            Finding(
                _HISTORY,
                f"conflicts with main in {_named(conflicts)}",
                remedy,
                rule="conflict",
                command=command,
            )
        ]
    if broken := list(_broken_entries(repository, main, tree)):
        return None, broken
    commit = repository.commit_tree(tree, [main, head], message)
    return MergeResult(main, head, commit), []


def _broken_objects(repository: Repository, main: str, head: str) -> Iterator[Finding]:
    """Run git fsck on the objects that the branch brings, and on no other."""
    try:
        pack = repository.pack([head], without=[main])
    except GitError as error:
        yield Finding(
            _HISTORY,
            f"git cannot read all that this branch brings: {error}",
            _ANEW,
            rule="broken-objects",
        )
        return
    with tempfile.TemporaryDirectory(prefix="gitops-fsck-") as folder:
        file = Path(folder) / "branch.pack"
        file.write_bytes(pack)
        done = repository.run("index-pack", "--strict", str(file), timeout=600)
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        problem = re.sub(r"^(?:fatal|error): ", "", next((row for row in lines if "error" in row), lines[-1]))
        yield Finding(_HISTORY, f"git fsck: {problem[:200]}", _ANEW, rule="broken-objects")


def _broken_entries(repository: Repository, main: str, tree: str) -> Iterator[Finding]:
    """Yield the files that a checkout of the result could not contain, or not in a defined way."""
    entries = repository.entries(tree)
    known = {(entry.path, entry.mode, entry.object_id) for entry in repository.entries(main)}
    if twice := [path for path, count in Counter(entry.path for entry in entries).items() if count > 1]:
        yield Finding(_named(twice), "is there twice", _ANEW, rule="unusable-files")
    if alike := _alike(entries, {path for path, *_ in known}):
        right = "rename one: a checkout on macOS or Windows holds one of them only"
        problem = "differ in upper and lower case or in their accents only"
        yield Finding(_named(alike), problem, right, rule="unusable-files")
    if folders := _folders_that_are_files(entries):
        yield Finding(_named(folders), "is a file and a folder", _ANEW, rule="unusable-files")
    new = [entry for entry in entries if (entry.path, entry.mode, entry.object_id) not in known]
    if submodules := [entry.path for entry in new if entry.mode == _SUBMODULE]:
        right = "put the files themselves into the repository"
        yield Finding(_named(submodules), "is a submodule", right, rule="unusable-files")
    if long := [entry.path for entry in new if _too_long(entry.path)]:
        problem = "has a name that no checkout can hold"
        yield Finding(
            _named(long), problem, "give it a shorter name, in fewer folders", rule="unusable-files"
        )
    if rewritten := trial_checkout.rewritten(repository, tree, entries):
        before = trial_checkout.rewritten(repository, main, repository.entries(main))
        rewritten = [path for path in rewritten if path not in before]
    if rewritten:
        right = "take eol=crlf, filter, ident and working-tree-encoding out: nobody reviewed that content"
        problem = "is rewritten on checkout by .gitattributes"
        yield Finding(_named(rewritten), problem, right, rule="unusable-files")
    links = [entry for entry in entries if entry.mode == _LINK]
    if broken := list(_broken_links(repository, links, entries)):
        right = "let it lead to a file of the repository, or put the file there"
        problem = "is a link that leads nowhere, or out of the repository"
        yield Finding(_named(broken), problem, right, rule="unusable-files")


def _folders_that_are_files(entries: list[Entry]) -> list[str]:
    folders = {parent for entry in entries for parent in _parents(entry.path)}
    return [entry.path for entry in entries if entry.path in folders]


def _alike(entries: list[Entry], known: set[str]) -> list[str]:
    """Return the paths, folders too, of which some file systems hold one only; those of main stop nobody."""
    paths = {entry.path for entry in entries}
    paths |= {parent for path in paths for parent in _parents(path)}
    known = known | {parent for path in known for parent in _parents(path)}
    groups: dict[str, list[str]] = {}
    for path in sorted(paths):
        groups.setdefault(unicodedata.normalize("NFC", path).casefold(), []).append(path)
    return [
        path for group in groups.values() if len(group) > 1 and not known.issuperset(group) for path in group
    ]


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _too_long(path: str) -> bool:
    names = path.encode("utf-8", "surrogateescape").split(b"/")
    deep = len(names) > trial_checkout.DEEPEST + 1
    return deep or any(len(name) > _LONGEST_NAME for name in names) or sum(map(len, names)) > 3000


def _broken_links(repository: Repository, links: list[Entry], entries: list[Entry]) -> Iterator[str]:
    targets = repository.link_targets(links, _LONGEST_LINK)
    present = {entry.path for entry in entries}
    present |= {parent for path in present for parent in _parents(path)}
    for link in links:
        if not _leads_somewhere(link.path, targets, present):
            yield link.path


def _leads_somewhere(path: str, targets: dict[str, str | None], present: set[str]) -> bool:
    """Follow a path as a file system does, one name after the other."""
    walked: list[str] = []
    ahead = deque(path.split("/"))
    hops = 0
    while ahead:
        name = ahead.popleft()
        if name == ".." and not walked:
            return False
        if name == "..":
            walked.pop()
        elif name not in ("", "."):
            walked.append(name)
            here = "/".join(walked)
            if here in targets:
                hops += 1
                target = targets[here]
                if target is None or target.startswith("/") or hops > _HOPS:
                    return False
                walked.pop()
                ahead.extendleft(reversed(target.split("/")))
            elif here not in present:
                return False
    return True


def _named(paths: list[str]) -> str:
    shown = ["".join(c if c.isprintable() else "?" for c in path)[:80] for path in paths[:_MOST_NAMED]]
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return ", ".join(shown) + more
