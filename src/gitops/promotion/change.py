"""A change of main, as git and DVC see it: the rules of `gitops.promotion.check` judge it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from gitops.errors import ReleaseError
from gitops.findings import Finding
from gitops.git.merge_result import MergeResult
from gitops.git.repository import Repository
from gitops.release import adoption, approvals, keys, pointers, signatures
from gitops.release import file as release_file
from gitops.release.environments import FOLDER
from gitops.release.signatures import SIGNERS, Trust
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState


@dataclass(frozen=True)
class Change:
    """The content that main would have, and the files that would change.

    Attributes:
        head: The files of the result.
        changed: The paths that differ from main.
        releases: The commits that its release files name, where these changed; None for one that is not here.
        unsigned: Changed files of environments, with the reason why no allowed signer vouches for each.
        refused: Changed lists of signers and keys, with the reason why each would not count.
        leftovers: The placeholders that it leaves, and files by which DVC would take data from elsewhere.
        authors: The addresses of the people who made it, where it changes a release that needs approvals.

    """

    head: Snapshot
    changed: tuple[str, ...]
    releases: Mapping[str, Snapshot | None] = field(default_factory=dict[str, Snapshot | None])
    unsigned: Mapping[str, str] = field(default_factory=dict[str, str])
    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    leftovers: tuple[Finding, ...] = ()
    authors: frozenset[str] = frozenset()

    @classmethod
    def load(cls, repository: Repository, state: ReleaseState, result: MergeResult) -> Self:
        """Read the merge commit and its changes of main as it is now, never those of the branch."""
        commit = result.commit
        if repository.tree_id(commit, "") == repository.tree_id(result.head, ""):
            commit = result.head  # of equal content, and with an id that its author knows
        head = Snapshot.load(repository, commit, state.environments.names)
        changed = repository.changed(result.main, commit)
        named = dict.fromkeys(_named(head, changed))
        # Another rule refuses a name that cannot be printed.
        files = [path for path in changed if path.startswith(f"{FOLDER}/") and path.isprintable()]
        lists = [path for path in files if path == SIGNERS or path.endswith(f"/{keys.FILE}")]
        signers = state.lists.signers or b""
        asks = any(
            state.environments[name].approvals and release_file.path_of(name) in changed
            for name in state.environments
        )
        refused: dict[str, str] = {}
        if lists:
            trust = Trust.load(repository, state.tip, state.environments, remote=state.remote)
            refused = {path: why for path in lists if (why := trust.refuses(result, path))}
        return cls(
            head,
            tuple(changed),
            {**named, **Snapshot.load_all(repository, named)} if named else {},
            {
                path: why
                for path in (files if signers else ())
                if path not in lists and (why := signatures.unsigned(repository, result, path, signers))
            },
            refused,
            (
                *(adoption.leftovers(repository, commit) if adoption.touches(changed) else ()),
                *pointers.faults(repository, commit, changed),
            ),
            approvals.authors(repository, result.main, result.head, signers, promotion=True)
            if asks
            else frozenset(),
        )


def _named(head: Snapshot, changed: Sequence[str]) -> list[str]:
    """Return the commits that changed release files name."""
    commits: list[str] = []
    for path in changed:
        folder, _, name = path.rpartition("/")
        if name == "release.yaml" and folder.count("/") == 1 and folder.startswith(f"{FOLDER}/"):
            try:
                release = head.release(folder.partition("/")[2], follows=False)
            except ReleaseError:
                continue  # reported when that file is judged
            commits += filter(None, [release.commit, release.trial]) if release else []
    return commits
