"""A canary from its proposal to its end, on real git with signed tags."""

from pathlib import Path

import pytest

from gitops.errors import GitError, NothingToDoError, RuleError
from gitops.forge.canary_steps import describe, plan_canary
from gitops.promotion.evidence import Evidence
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import push
from gitops.promotion.trial_proposals import propose_trial
from gitops.release import canaries
from gitops.release import file as release_file
from gitops.release.checks import Check
from gitops.release.file import Release
from gitops.training import shadowing
from tests.support.lab import Lab
from tests.support.trials import about, answer, figures, origin

FILE = "environments/staging/release.yaml"
BATCHES = [f"batch-{number}" for number in range(300)]


@pytest.fixture
def two(lab: Lab) -> tuple[str, str]:
    """The release of staging, and the next one."""
    lab.train("a")
    return lab.release("staging"), lab.train("b", 0.91)


def start(lab: Lab, second: str, share: int) -> None:
    push(
        lab.clone,
        lab.remote,
        propose_trial(lab.clone, lab.state(), "staging", lab.remote, "canary", second, share),
    )
    lab.merge("canary/staging")


def picked(lab: Lab, folder: Path) -> dict[str, str]:
    """Return the batches that the canary of staging answers, as a task of staging finds out."""
    found = shadowing.declared(origin(lab), "staging", mirror=folder / "mirror.git", signed=False)
    return shadowing.picked(found, BATCHES)


def test_a_canary_grows_by_evidence_and_ends_by_a_signed_tag(
    lab: Lab, two: tuple[str, str], tmp_path: Path
) -> None:
    second = two[1]
    assert picked(lab, tmp_path) == {}
    start(lab, second, 10)
    assert lab.state().present("staging") == Release(commit=two[0], canary=second, share=10)
    tenth = picked(lab, tmp_path)
    assert tenth == picked(lab, tmp_path) == dict.fromkeys(tenth, second)
    assert tenth.keys() == {name for name in BATCHES if canaries.picks(name, second, 10)}
    assert 10 <= len(tenth) <= 60

    # A git that does not answer changes nothing, and delays no batch.
    aside = lab.origin.path.rename(tmp_path / "away.git")
    stale = shadowing.declared(
        origin(lab), "staging", mirror=tmp_path / "mirror.git", signed=False, waits=False
    )
    assert shadowing.picked(stale, BATCHES) == tenth
    with pytest.raises(GitError):
        shadowing.declared(origin(lab), "staging", mirror=tmp_path / "new.git", signed=False, waits=False)
    aside.rename(lab.origin.path)

    def plan() -> tuple[str, str]:
        status = plan_canary(lab.clone, lab.state(), "staging", lab.remote)
        assert status is not None
        return status.state, status.text

    assert plan() == (
        "wait",
        f"the canary {second[:12]} answers 10%; it has answered 0 of 1000 images at 10%",
    )
    with pytest.raises(RuleError, match="it has answered 0 of 1000 images at 10%; wait for CANARY_IMAGES"):
        propose_trial(lab.clone, lab.state(), "staging", lab.remote, "canary", second, 25)
    with pytest.raises(RuleError, match="answers 10%; its next step is 25%"):
        promote(lab.clone, lab.state(), "staging", lab.remote)
    answer(lab, tmp_path, about(lab, two, figures(9000, answered=1000), share=10))
    assert plan() == ("open", f"Let {second[:12]} answer 25% in staging")
    status = plan_canary(lab.clone, lab.state(), "staging", lab.remote)
    assert status is not None
    assert status.proposal is not None
    assert f"Canary: {second[:12]} at 10% -> {second[:12]} at 25%" in status.proposal.message
    text = describe(lab.state(), status.proposal, Evidence.of(lab.clone))
    assert (
        "answer 25% in staging. Merging changes `environments/staging/release.yaml` and nothing else." in text
    )
    assert "Checks at 10%: 2 passed" in text
    push(lab.clone, lab.remote, status.proposal)
    lab.merge("canary/staging")
    quarter = picked(lab, tmp_path)
    assert tenth.keys() < quarter.keys()
    # What it answered at 10% is no evidence for 50%.
    assert plan()[0] == "wait"

    worse = about(lab, two, figures(9000, answered=1000, lost=40), share=25)
    answer(lab, tmp_path, worse)
    with pytest.raises(RuleError, match=r"does worse: .*no attribute worse"):
        propose_trial(lab.clone, lab.state(), "staging", lab.remote, "canary", second, 50)
    found = [Check(name="latency", value="10 times", limit="at most 2", result="failed")]
    mirror, key = tmp_path / "mirror.git", lab.key("staging")
    verdict = shadowing.step_down(origin(lab), "staging", second, found, mirror=mirror, key=key)
    assert verdict.tag == f"rejected/staging/{second[:12]}"
    assert "as a canary: latency: 10 times (at most 2)" in verdict.message
    # At once, before anybody merges anything
    assert lab.state().present("staging").share == 25
    assert picked(lab, tmp_path) == {}
    assert plan() == ("open", "End the canary of staging")
    ending = propose_trial(lab.clone, lab.state(), "staging", lab.remote, "canary", None, None)
    text = describe(lab.state(), ending, Evidence.of(lab.clone))
    assert f"staging rejected it (`{verdict.tag}`)" in text
    assert "| no attribute worse |" in text
    push(lab.clone, lab.remote, ending)
    lab.merge("canary/staging")
    assert lab.state().present("staging") == Release(commit=two[0])
    assert plan_canary(lab.clone, lab.state(), "staging", lab.remote) is None
    with pytest.raises(RuleError, match="staging rejected"):
        propose_trial(lab.clone, lab.state(), "staging", lab.remote, "canary", second, 1)


@pytest.mark.long
def test_after_the_last_step_comes_the_promotion(lab: Lab, two: tuple[str, str], tmp_path: Path) -> None:
    second = two[1]
    start(lab, second, 50)
    status = plan_canary(lab.clone, lab.state(), "staging", lab.remote)
    assert status is not None
    assert (status.state, status.text) == (
        "over",
        f"the canary {second[:12]} answers 50%; its promotion comes next",
    )
    with pytest.raises(RuleError, match="it has answered 0 of 1000 images at 50%"):
        promote(lab.clone, lab.state(), "staging", lab.remote)
    answer(lab, tmp_path, about(lab, two, figures(answered=1000), share=50))
    proposal = lab.promote("staging")
    assert proposal.after == Release(commit=proposal.after.commit)
    lab.merge(proposal.branch)
    assert lab.state().same(lab.state().present("staging").commit, second)


@pytest.mark.long
def test_less_is_always_allowed_and_two_at_once_are_not(lab: Lab, two: tuple[str, str]) -> None:
    second = two[1]
    start(lab, second, 10)
    lower = propose_trial(lab.clone, lab.state(), "staging", lab.remote, "canary", second, 5)
    assert lower.after.share == 5
    with pytest.raises(NothingToDoError, match="at 10% already"):
        propose_trial(lab.clone, lab.state(), "staging", lab.remote, "canary", second, 10)
    third = lab.train("c", 0.92)
    with pytest.raises(RuleError, match=f"staging tries the canary {second[:12]}, which has another model"):
        promote(lab.clone, lab.state(), "staging", lab.remote)
    tried = propose_trial(lab.clone, lab.state(), "staging", lab.remote, "shadow", third)
    assert tried.after == Release(commit=two[0], shadow=third)
    with pytest.raises(RuleError, match="prod has no model"):
        propose_trial(lab.clone, lab.state(), "prod", lab.remote, "canary", second, 10)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("canary: {0}\n", "no share"),
        ("share: 10\n", "no canary"),
        ("canary: {0}\nshare: 0\n", "share: '0' does not fit"),
        ("canary: {0}\nshare: 100\n", "share: '100' does not fit"),
        ("canary: {0}\nshare: 1.5\n", "share: '1.5' does not fit"),
        ("canary: abc\nshare: 10\n", "canary: 'abc' is not a full commit id"),
        ("canary: {0}\nshare: 10\nshadow: {0}\n", "both shadow and canary"),
    ],
)
def test_a_release_file_has_a_whole_canary_or_none(lines: str, problem: str) -> None:
    content = f"commit: {'a' * 40}\n{lines.format('b' * 40)}"
    with pytest.raises(release_file.ReleaseError, match=problem):
        release_file.parse(content.encode(), "prod", follows=False)


def test_a_canary_is_written_as_it_is_read() -> None:
    release = Release(commit="a" * 40, canary="b" * 40, share=10)
    content = release_file.render(release, "prod")
    assert content.endswith(b"share: 10\n")
    assert release_file.parse(content, "prod", follows=False) == release
