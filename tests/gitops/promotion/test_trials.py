"""A shadow from its proposal to the promotion, on real git with signed tags."""

from pathlib import Path

import pytest

from gitops.airflow.bundle import ReleaseBundle
from gitops.errors import NothingToDoError, RuleError, StepError, VerdictError
from gitops.gates.shadows import Shadowed, reports
from gitops.promotion.holds import hold
from gitops.promotion.merge import check
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import push
from gitops.promotion.rollbacks import rollback
from gitops.promotion.trial_proposals import propose_trial
from gitops.release import file as release_file
from gitops.training import shadowing
from tests.support.bundles import Make, serving
from tests.support.lab import Lab
from tests.support.trials import about, answer, figures, origin, sha256

SETTINGS = "environments/staging/settings.env"
FILE = "environments/staging/release.yaml"


@pytest.fixture
def two(lab: Lab) -> tuple[str, str]:
    """The release of staging, which asks for 200 images of a shadow, and the next release."""
    lab.train("a")
    content = lab.origin.read("main", SETTINGS) or b""
    lab.land({SETTINGS: content.replace(b"SHADOW_IMAGES=0", b"SHADOW_IMAGES=200")})
    lab.verify("dev", lab.tip)
    first = lab.release("staging")
    return first, lab.train("b", 0.91)


def test_a_model_is_tried_beside_the_release_before_it_takes_its_place(
    lab: Lab, two: tuple[str, str], tmp_path: Path
) -> None:
    first, second = two
    with pytest.raises(RuleError) as refused:
        promote(lab.clone, lab.state(), "staging", lab.remote)
    assert (
        f"staging has not tried the model of {second[:12]} beside its own; propose the trial, merge"
        in str(refused.value)
    )
    proposal = propose_trial(lab.clone, lab.state(), "staging", lab.remote, "shadow", second)
    assert f"Shadow: none -> {second[:12]}" in proposal.message
    push(lab.clone, lab.remote, proposal)
    lab.merge("shadow/staging")
    state = lab.state()
    assert (state.present("staging").commit, state.present("staging").shadow) == (first, second)
    assert not lab.origin.has("refs/heads/shadow/staging")
    with pytest.raises(NothingToDoError, match=f"has the shadow {second[:12]} already"):
        propose_trial(lab.clone, state, "staging", lab.remote, "shadow", second)
    mirror = tmp_path / "mirror.git"
    found = shadowing.declared(origin(lab), "staging", mirror=mirror, signed=False)
    assert found is not None
    assert found.release.trial == second
    assert shadowing.picked(found, ["a", "b"]) == {}
    assert shadowing.declared(origin(lab), "staging", mirror=mirror, signed=True) is None
    assert shadowing.declared(origin(lab), "prod", mirror=mirror, signed=False) is None

    def refusal() -> str:
        with pytest.raises(RuleError) as error:
            promote(lab.clone, lab.state(), "staging", lab.remote)
        return str(error.value)

    def report(failed: int = 0, reason: str = "", **options: int) -> Shadowed:
        return about(lab, two, figures(**options), failed, reason)

    crashed = about(lab, two, None, 2, "exit\nstatus 139")
    answer(lab, tmp_path, crashed)
    due = lab.tip[:12]  # main moved on, and has the same model
    assert f"the shadow {due} failed on 2 batches: exit status 139" in refusal()
    answer(lab, tmp_path, report(images=199))
    assert f"staging tried {due} on 199 images; REQUIRE_SHADOW_IMAGES asks for 200: wait" in refusal()
    answer(lab, tmp_path, report(lost=40))
    assert "fails a gate on late labels of staging: no attribute worse" in refusal()
    answer(lab, tmp_path, report())
    # Only the newest report stays, and a promotion ends the trial.
    assert [tag.name for tag in lab.origin.tags("shadowed")] == [f"shadowed/staging/{second[:12]}"]
    promoted = lab.promote("staging")
    assert promoted.after.shadow is None
    assert f"Shadow: {second[:12]} -> none" in promoted.message
    lab.merge(promoted.branch)
    assert lab.state().present("staging").commit == promoted.after.commit


@pytest.mark.long
def test_nobody_else_answers_for_an_environment(lab: Lab, two: tuple[str, str], tmp_path: Path) -> None:
    second = two[1]
    good = about(lab, two, figures())
    with pytest.raises(VerdictError, match="main does not list the key of staging"):
        answer(lab, tmp_path, good, by="prod")
    made = lab.origin.tag(second, good.tag, good.message, at=good.at, sign=lab.key("prod").sign)
    lab.origin.git("update-ref", f"refs/tags/{good.tag}", made)
    state = lab.state()
    assert reports(lab.clone, state.lists, "staging", remote=lab.remote) == []
    # An honest one about the same two models, but another commit of them, takes its place and counts.
    answer(lab, tmp_path, good)
    assert len(reports(lab.clone, lab.state().lists, "staging", remote=lab.remote)) == 1
    with pytest.raises(StepError, match="cannot be read: figures"):
        about(lab, two, {**figures(), "agreement": 2})


def test_a_shadow_stays_with_its_release(lab: Lab, two: tuple[str, str]) -> None:
    first, second = two
    state = lab.state()
    declared = release_file.Release(commit=first, shadow=second)
    lab.declare("staging", release_file.render(declared, "staging").decode())
    held = hold(lab.clone, lab.state(), "staging", lab.remote, "freeze")
    assert held.after.shadow == second
    ended = propose_trial(lab.clone, lab.state(), "staging", lab.remote, "shadow", None)
    assert ended.after == release_file.Release(commit=first)
    back = lab.commit({"README.md": b"Another\n"})

    def refusal(release: str, tried: str) -> str:
        content = release_file.render(release_file.Release(commit=release, shadow=tried), "staging")
        commit = lab.branch("by-hand", {FILE: content})
        result = check(lab.clone, lab.state(), commit)
        return "; ".join(map(str, result.findings))

    assert "shadow: the release changes" in refusal(second, second)
    assert f"shadow: {back[:12]} is not on main" in refusal(first, back)
    third = lab.train("c", 0.92, verified=False)
    assert f"shadow: dev has not verified {third[:12]}; wait for dev" in refusal(first, third)
    assert f"shadow: {first[:12]} has the model of the release" in refusal(first, first)
    with pytest.raises(NothingToDoError, match="prod has no shadow"):
        propose_trial(lab.clone, state, "prod", lab.remote, "shadow", None)
    with pytest.raises(RuleError, match="prod has no model to try another one beside"):
        propose_trial(lab.clone, state, "prod", lab.remote, "shadow", second)


@pytest.mark.long
def test_going_back_ends_a_shadow(lab: Lab) -> None:
    lab.train("a")
    first = lab.release("staging")
    lab.train("b")
    second = lab.release("staging")
    third = lab.train("c")
    declared = release_file.Release(commit=second, shadow=third)
    lab.declare("staging", release_file.render(declared, "staging").decode())
    assert rollback(lab.clone, lab.state(), "staging", lab.remote).after.shadow is None
    assert lab.state().ran("staging")[-1] == first


def test_the_environment_records_the_trial_that_waits_for_batches(
    lab: Lab, two: tuple[str, str], make: Make
) -> None:
    first, second = two
    bundle: ReleaseBundle = make()
    assert serving(bundle).trial is None
    models = [sha256(lab, commit) for commit in two]
    for line, compared in ((f"shadow: {second}", models[:1]), (f"canary: {second}\nshare: 10", models)):
        lab.declare("staging", f"commit: {first}\n{line}\n")
        bundle.refresh()
        assert (serving(bundle).trial, list(serving(bundle).trial_models)) == (second, compared)
    lab.verify("staging", second, "rejected")
    bundle.refresh()
    assert (serving(bundle).commit, serving(bundle).trial) == (first, None)
