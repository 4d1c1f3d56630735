"""The interface of a forge: the place where proposals are shown, judged and merged.

A pull request is a branch that somebody wants in main. A plain git server has only the branch; the text that
belongs to it is kept in git notes there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gitops.promotion.evidence import Evidence
from gitops.promotion.jobs import Job

VERDICT = "verdict"
"""The status that shows whether a commit may be merged, and which branch rules ask for."""

JOBS = ("scope", "lint", "review", "test", "dags", "train")
"""The jobs that check a pull request, each of which has to report."""

Done = Literal["opened", "updated", "left as it is"]
State = Literal["pending", "success", "failure", "error"]
STATES: dict[str, State] = {"pending": "pending", "success": "success", "failure": "failure"}
"""The states by their names. Any other name of a forge is an error, such as a warning."""


@dataclass(frozen=True)
class PullRequest:
    """An open pull request into main."""

    number: int
    """0 where a branch is all that there is."""
    branch: str
    url: str
    title: str
    body: str
    head: str
    """The commit that it proposes."""
    fork: str = ""
    """The repository that its branch is in, `owner/name`; empty where that is gone."""
    author: str = ""

    @property
    def name(self) -> str:
        """Its name in a line for a person."""
        return f"{self.branch} (#{self.number})" if self.number else self.branch


@dataclass(frozen=True)
class Status:
    """A line beside a commit. A later one of the same context takes its place."""

    state: State
    text: str
    url: str = ""


class Forge(Protocol):
    """A repository on a forge."""

    repository: str
    """Its name, for a person."""

    def proposals(self) -> list[PullRequest]:
        """Return the open pull requests into main."""
        ...

    def find(self, branch: str) -> PullRequest | None:
        """Return the open pull request from a branch of the repository itself."""
        ...

    def keep(self, branch: str, title: str, body: str) -> tuple[PullRequest, Done]:
        """Open a pull request from a branch that is already pushed, or bring the open one up to date."""
        ...

    def merge(self, pull: PullRequest, evidence: Evidence) -> str:
        """Merge a pull request into main, if it may be; return the reason why not, or "" if it is merged.

        A forge decides by the status `verdict` of the newest commit, a plain git server by the rules.
        """
        ...

    def close(self, pull: PullRequest, why: str) -> None:
        """Close a pull request, with the reason as Markdown."""
        ...

    def comment(self, pull: PullRequest, mark: str, body: str) -> Done:
        """Post a comment, or replace the one of this user that has the same mark."""
        ...

    def set_status(self, commit: str, context: str, status: Status) -> None:
        """Show a status beside a commit."""
        ...

    def statuses(self, commit: str) -> Mapping[str, Status]:
        """Return the newest status of each context."""
        ...

    def jobs(self, commit: str) -> Mapping[str, Job] | None:
        """Return how the jobs that check a commit ended, or None as long as they run.

        Empty on a forge that runs no jobs.
        """
        ...

    def approvals(self, pull: PullRequest) -> list[str]:
        """Return who approves the newest commit of a pull request."""
        ...

    def protect(self, root: Path, *, user: str | None = None, dry: bool = False) -> Iterator[tuple[str, str]]:
        """Apply the branch rules that a checkout has, and yield the name and the result of each.

        Args:
            root: The checkout.
            user: Who pushes the branches `deploy/**`, where the forge names users.
            dry: Whether to change nothing.

        """
        ...
