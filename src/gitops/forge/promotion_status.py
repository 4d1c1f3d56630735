"""The status of a promotion, or of the share of a canary: the next action, and the reason."""

from dataclasses import dataclass
from typing import Literal

from gitops.findings import Finding
from gitops.promotion.proposals import Proposal

LONGEST = 60_000
"""The longest description of a pull request, with some room."""


@dataclass(frozen=True)
class PromotionStatus:
    """The next action for promotions into one environment, and the reason.

    `open`: propose it. `wait`: not yet, and a pull request that is open may stay. `over`: there is nothing to
    promote, or a hold prevents it, so the pull request is closed. `refused`: a rule refuses the due
    promotion.
    """

    environment: str
    state: Literal["open", "wait", "over", "refused"]
    text: str
    proposal: Proposal | None = None
    refused: tuple[Finding, ...] = ()
    """Each rule that forbids it."""
    canary: bool = False
    """Whether it is about the share of a canary, and not about a promotion."""

    @property
    def branch(self) -> str:
        """The branch of the pull request."""
        return f"{'canary' if self.canary else 'promote'}/{self.environment}"
