"""A release that lost data is neither promoted nor rolled back to, and main's list only grows."""

import pytest

from gitops.errors import ReleaseError, RuleError
from gitops.paths import FORGOTTEN
from gitops.promotion.merge import check
from gitops.promotion.promotions import promote
from gitops.promotion.rollbacks import rollback
from gitops.release.forgotten import Forgotten
from tests.support.figures import model_md5
from tests.support.lab import Lab

DIGEST = "a" * 64


def forget(lab: Lab, *objects: str) -> None:
    lab.land({FORGOTTEN: Forgotten().adding([DIGEST], [], objects).render()})


def test_a_release_that_lost_data_is_not_rolled_back_to(lab: Lab) -> None:
    first = lab.train("first")
    lab.release("staging")
    second = lab.train("second", 0.91)
    lab.release("staging")
    lab.train("third", 0.92)
    lab.release("staging")
    assert rollback(lab.clone, lab.state(), "staging", "origin").after.commit == second
    forget(lab, model_md5("second"))
    state = lab.state()
    with pytest.raises(RuleError, match=r"lost data that somebody asked to delete: models/model\.onnx"):
        rollback(lab.clone, state, "staging", "origin", to=second)
    assert rollback(lab.clone, state, "staging", "origin").after.commit == first


def test_a_release_that_lost_data_is_not_promoted_and_stays_where_it_runs(lab: Lab) -> None:
    release = lab.train("first")
    lab.release("staging")
    forget(lab, model_md5("first"))
    state = lab.state()
    with pytest.raises(RuleError, match="lost data"):
        promote(lab.clone, state, "prod", "origin")
    assert state.may_run("staging", release) is None


def test_a_list_that_nobody_can_read_is_refused_by_name(lab: Lab) -> None:
    with pytest.raises(ReleaseError, match=r"data/forgotten\.json.*git checkout origin/main"):
        Forgotten.read(b'{"format": 1, "photographs": ["anna"]}')
    assert Forgotten.read(None) == Forgotten.read(Forgotten().render())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "data/forgotten.json"),
        (Forgotten().render(), "lacks 2 digests that main has, so their photographs could come back"),
        (Forgotten().adding([DIGEST, "b" * 64], [], ["c" * 32]).render(), None),
    ],
)
def test_a_change_of_the_list_is_checked(lab: Lab, content: bytes, problem: str | None) -> None:
    forget(lab, "c" * 32)
    commit = lab.branch("change", {FORGOTTEN: content})
    state = lab.state()
    judgement = check(lab.clone, state, commit)
    findings = [str(finding) for finding in judgement.findings if FORGOTTEN in finding.subject]
    assert [problem in finding for finding in findings if problem] == ([True] if problem else [])
    assert bool(findings) == bool(problem)
