"""Checks of a release by an environment: each with its value, its limit and its result.

A verdict carries them. The status, the page and the text of a promotion show them as this module writes them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gitops.text.markdown import one_line, plain, table

MOST = 24
"""How many checks a verdict may have: its tag is small."""
_LONGEST = 160

_Line = Annotated[str, AfterValidator(lambda text: one_line(text, longest=_LONGEST))]


class Check(BaseModel):
    """One check. `unknown` is the result where there was too little to judge by."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: _Line
    value: _Line
    limit: _Line
    result: Literal["passed", "failed", "unknown"]

    def __str__(self) -> str:
        return f"{self.name}: {self.value} ({self.limit})"


Checks = Annotated[tuple[Check, ...], Field(max_length=MOST)]


def failures(checks: Iterable[Check]) -> str:
    """Return the checks that failed as one line, or ""."""
    return "; ".join(str(check) for check in checks if check.result == "failed")


def text(checks: Sequence[Check]) -> list[str]:
    """Return a line for each check, for a terminal or a page."""
    return [f"{check.result}: {check}" for check in checks]


def summary(checks: Sequence[Check]) -> str:
    """Return how many checks had which result, as one line, or "" without checks."""
    counts = Counter(check.result for check in checks)
    return ", ".join(
        f"{counts[result]} {result}" for result in ("passed", "failed", "unknown") if counts[result]
    )


def markdown(checks: Sequence[Check]) -> str:
    """Return the checks as a table in Markdown."""
    rows = [[plain(part) for part in (one.name, one.value, one.limit, one.result)] for one in checks]
    return table(["check", "value", "limit", "result"], rows)
