"""Judgements: everything that forbids a change, and the results of the gates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from gitops.errors import RuleError
from gitops.findings import Finding
from gitops.gates.gates import GateResult
from gitops.promotion.migrations import Migration


@dataclass(frozen=True)
class Judgement:
    """The result of judging a change.

    Attributes:
        findings: Everything that forbids it.
        gates: The results of the gates, for each environment that would get another model.
        models_checked: False where the existence of a model was not checked, as no DVC remote is configured.
        migrations: Other versions of Airflow that it brings, which forbid nothing.

    """

    findings: tuple[Finding, ...] = ()
    gates: Mapping[str, tuple[GateResult, ...]] = field(default_factory=dict[str, tuple[GateResult, ...]])
    models_checked: bool = True
    migrations: tuple[Migration, ...] = ()

    def __add__(self, other: "Judgement") -> "Judgement":
        return Judgement(
            (*self.findings, *other.findings),
            {**self.gates, **other.gates},
            self.models_checked and other.models_checked,
            (*self.migrations, *other.migrations),
        )

    @classmethod
    def from_findings(cls, *findings: Finding) -> Self:
        return cls(findings)


class RefusedError(RuleError):
    """A change that rules forbid, with its whole judgement."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(*judgement.findings)
        self.judgement = judgement
