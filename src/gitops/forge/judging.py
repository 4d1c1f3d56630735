"""Proposals that wait for a verdict, and the statuses that show it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitops.forge.interface import VERDICT, Forge, PullRequest, Status
from gitops.promotion.jobs import Job

REPORT = "visage: report"
"""The mark of the comment with the report."""


@dataclass(frozen=True)
class Waiting:
    """A proposal, and whether it can be judged.

    Attributes:
        pull: The proposal.
        jobs: How its jobs ended; None as long as they run.
        judged: The verdict of this main on this commit, if there is one.

    """

    pull: PullRequest
    jobs: Mapping[str, Job] | None
    judged: Status | None


def waiting(forge: Forge, tip: str) -> Iterator[Waiting]:
    """Yield each open proposal; `tip` is the commit of main that judges."""
    for pull in forge.proposals():
        present = forge.statuses(pull.head).get(VERDICT)
        if present and present.state != "pending" and present.text.endswith(_by(tip)):
            yield Waiting(pull, None, present)
        else:
            yield Waiting(pull, forge.jobs(pull.head), None)


def verdict(tip: str, problems: int) -> Status:
    """Return the status for a number of problems."""
    if not problems:
        return Status("success", f"can be merged {_by(tip)}")
    return Status("failure", f"{problems} problem{'s' if problems > 1 else ''} {_by(tip)}")


def undecided(tip: str) -> Status:
    """Return the status of a proposal whose jobs run."""
    return Status("pending", f"waits for its jobs {_by(tip)}")


def _by(tip: str) -> str:
    return f"(by main {tip[:12]})"
