"""The result of a gate: one row of a verdict about a model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GateResult:
    """One gate: the measured value, its limit, the incumbent's value, and whether it passes.

    `remedy` is the next step if a better model would not help.
    """

    gate: str
    value: str
    limit: str
    incumbent: str
    ok: bool
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.gate}: {self.value}, {self.limit} is asked for"

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as the text of a table's cells, in the order of COLUMNS."""
        return self.gate, self.value, self.limit, self.incumbent, "yes" if self.ok else "no"
