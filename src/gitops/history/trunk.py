"""The trunk: the commits that main pointed to, oldest first, with the people and the files of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gitops.git.objects import Commit, Tag


@dataclass(frozen=True)
class FileChange:
    """A file that a commit of main changed, and the ids of its content before and after; None without it."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class TrunkCommit:
    """One commit that main pointed to.

    Attributes:
        commit: The commit. Its author is the one who merged it, or who pushed it to main.
        merged: The last commit of each branch that it merged. Their authors proposed it.
        changes: The files that differ from main right before it.

    """

    commit: Commit
    merged: tuple[Commit, ...] = ()
    changes: tuple[FileChange, ...] = ()

    @property
    def at(self) -> datetime:
        return self.commit.at

    @property
    def proposed_by(self) -> str:
        """The authors of the branches that it merged; '' for a commit that was pushed to main."""
        return ", ".join(dict.fromkeys(commit.author for commit in self.merged))


@dataclass(frozen=True)
class Past:
    """Everything that the history is derived from.

    Attributes:
        trunk: The commits that main pointed to, oldest first.
        contents: The contents of release files, by their ids. A missing one is not here.
        tags: The tags that carry verdicts and approvals, or look like it.

    """

    trunk: Sequence[TrunkCommit]
    contents: Mapping[str, bytes]
    tags: Sequence[Tag]
