"""The data contract of a change: a line for each fault, and nobody takes it away."""

import pytest

from gitops.paths import CONTRACT, CONTRACT_SCHEMA
from gitops.promotion.merge import check
from tests.support.lab import ROOT, Lab

TEXT = (ROOT / CONTRACT).read_text()


@pytest.fixture
def with_contract(lab: Lab) -> Lab:
    lab.land({path: (ROOT / path).read_bytes() for path in (CONTRACT, CONTRACT_SCHEMA)})
    return lab


def broken(lab: Lab, content: bytes | None) -> list[str]:
    head = lab.branch("change", {CONTRACT: content})
    state = lab.state()
    findings = check(lab.clone, state, head).findings
    return [str(finding) for finding in findings if finding.rule == "data-contract"]


def test_other_limits_are_fine(with_contract: Lab) -> None:
    assert not broken(with_contract, TEXT.replace("max_repeated: 0.3", "max_repeated: 0.2").encode())


def test_each_fault_has_a_line(with_contract: Lab) -> None:
    text = TEXT.replace("max_repeated: 0.3", "max_repeatd: 0.3").replace("{train: 100, ", "{train: some, ")
    assert broken(with_contract, text.encode()) == [
        f"{CONTRACT}: max_repeatd: unknown, did you mean max_repeated?; see docs/data.md",
        f"{CONTRACT}: rows.train: 'some' must be of type integer; see docs/data.md",
    ]
    assert len(broken(with_contract, b"a: [1")) == 1
    assert len(broken(with_contract, b"[]")) == 1


def test_nobody_takes_it_away(with_contract: Lab) -> None:
    (line,) = broken(with_contract, None)
    assert "missing, so any data would be good enough" in line
