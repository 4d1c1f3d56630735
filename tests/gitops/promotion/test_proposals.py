import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from gitops.errors import EnvironmentsError, NothingToDoError, PushRejectedError, RuleError
from gitops.git.repository import Repository
from gitops.promotion.evidence import Evidence
from gitops.promotion.holds import hold, unhold
from gitops.promotion.merge import merge
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import Proposal, describe, push
from gitops.promotion.rollbacks import rollback
from gitops.promotion.rules import judge_release
from gitops.release.file import Release
from gitops.release.load import fetch_state
from gitops.release.snapshot import Snapshot
from tests.support.figures import model_files
from tests.support.lab import Lab


def refused(lab: Lab, environment: str, content: Release) -> str:
    state = fetch_state(lab.clone, lab.remote, commits=[content.commit])
    judgement = judge_release(state, environment, content, Evidence.of(lab.clone))
    return "\n".join(map(str, judgement.findings))


def test_staging_takes_what_dev_runs(lab: Lab) -> None:
    commit = lab.train("a")
    proposal = lab.promote("staging")
    assert proposal.after == Release(commit=commit)
    assert lab.origin.changed("main", "promote/staging") == ["environments/staging/release.yaml"]
    assert Snapshot.load(lab.origin, "promote/staging").release("staging", follows=False) == proposal.after
    assert lab.origin.resolve("promote/staging~1") == lab.tip
    assert Snapshot.load(lab.origin, "main").release("staging", follows=False) == Release(commit=None)


def test_the_checkout_is_left_as_it_was(lab: Lab) -> None:
    lab.train("a")
    (lab.clone.path / "README.md").write_text("mine\n")
    before = lab.clone.git("for-each-ref", "refs/heads", "refs/tags", "refs/remotes")
    lab.promote("staging")
    assert lab.clone.git("for-each-ref", "refs/heads", "refs/tags") == before.split("\n")[0]
    assert lab.clone.git("status", "--porcelain").strip() == "M README.md"
    assert lab.clone.resolve("HEAD") != lab.tip


def test_nothing_to_promote(lab: Lab) -> None:
    lab.train("a")
    lab.release("staging")
    with pytest.raises(NothingToDoError, match="staging already has the release of dev"):
        lab.promote("staging")
    lab.land({"README.md": b"news\n"})
    with pytest.raises(NothingToDoError, match="staging already has the release of dev"):
        lab.promote("staging")


def test_prod_has_nothing_to_take_before_staging_has(lab: Lab) -> None:
    with pytest.raises(NothingToDoError, match="staging has no release to promote to prod"):
        lab.promote("prod")


def test_prod_takes_what_staging_runs_and_verified(lab: Lab) -> None:
    commit = lab.train("a")
    lab.merge(lab.promote("staging").branch)
    with pytest.raises(RuleError, match="staging has not verified"):
        lab.promote("prod")
    lab.verify("staging", commit)
    lab.train("b")
    assert lab.promote("prod").after == Release(commit=commit)


def test_prod_waits_for_the_soak(lab: Lab) -> None:
    path = "environments/prod/settings.env"
    content = lab.origin.read("main", path)
    assert content is not None
    lab.land({path: content.replace(b"MIN_SOAK_HOURS=0", b"MIN_SOAK_HOURS=24")})
    commit = lab.train("a")
    lab.merge(lab.promote("staging").branch)
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    lab.verify("staging", commit, at=at)
    state = lab.state()
    with pytest.raises(RuleError, match=r"23\.0 h ago; MIN_SOAK_HOURS of prod requires 24\.0 h: wait 1\.0 h"):
        promote(lab.clone, state, "prod", lab.remote, now=at + timedelta(hours=23))
    with pytest.raises(RuleError, match="MIN_SOAK_HOURS"):
        promote(lab.clone, state, "prod", lab.remote, now=at - timedelta(hours=48))
    assert promote(lab.clone, state, "prod", lab.remote, now=at + timedelta(hours=24)).after.commit == commit


def test_prod_waits_for_a_window_of_the_calendar_and_a_rollback_does_not(lab: Lab) -> None:
    older = lab.train("a")
    for environment in ("staging", "prod"):
        lab.release(environment)
    lab.train("b")
    lab.release("staging")
    lab.release("prod")
    lab.train("c")
    lab.release("staging")
    window = "rule: deny, environments: [prod], reason: freeze, start: {}-12-20, end: 2099-01-04"
    freeze = f"windows:\n  - {{{{{window}}}}}\n"
    lab.land({"environments/calendar.yaml": freeze.format(2098).encode()})
    frozen, opens = datetime(2098, 12, 24, tzinfo=UTC), datetime(2099, 1, 4, tzinfo=UTC)
    with pytest.raises(
        RuleError, match="into prod are closed: freeze; opens 2099-01-04 00:00 UTC; promote it"
    ):
        promote(lab.clone, lab.state(), "prod", lab.remote, now=frozen)
    branch = lab.promote("prod").branch
    assert promote(lab.clone, lab.state(), "prod", lab.remote, now=opens).branch == branch
    # The merge counts, and not the proposal. A calendar that nobody can read opens no window.
    for content, says in (
        (freeze.format(2020), "promotions into prod are closed: freeze; no window opens within a year"),
        ("windows: soon\n", r"environments/calendar\.yaml: windows: .*; repair it on main first"),
    ):
        lab.land({"environments/calendar.yaml": content.encode()})
        with pytest.raises(RuleError, match=says):
            lab.merge(branch)
        assert rollback(lab.clone, lab.state(), "prod", lab.remote).after.commit == older


def test_what_an_environment_rejected_goes_no_further(lab: Lab) -> None:
    commit = lab.train("a")
    lab.verify("dev", commit, "rejected")
    with pytest.raises(RuleError, match="dev rejected"):
        lab.promote("staging")
    lab.train("b")
    commit = lab.promote("staging").after.commit
    assert commit is not None
    lab.merge("promote/staging")
    lab.verify("staging", commit)
    lab.verify("staging", commit, "rejected")
    with pytest.raises(RuleError, match="staging rejected"):
        lab.promote("prod")


def test_every_environment_before_it_must_have_verified_a_release(lab: Lab) -> None:
    commit = lab.train("a", verified=False)
    with pytest.raises(
        RuleError, match=f"dev has not verified {commit[:12]} yet; wait for verify_release in dev"
    ):
        lab.promote("staging")
    release_file = {"environments/staging/release.yaml": f"commit: {commit}\n".encode()}
    lab.land(release_file)
    lab.verify("staging", commit)
    # Somebody went past the rules, and prod does not take what dev has no verdict on.
    with pytest.raises(RuleError) as caught:
        lab.promote("prod")
    assert str(caught.value).count("\n") == 0
    assert f"dev has not verified {commit[:12]}" in str(caught.value)
    lab.verify("dev", commit)
    assert lab.promote("prod").after.commit == commit


def test_a_verdict_counts_for_every_commit_of_the_same_release(lab: Lab) -> None:
    first = lab.train("a")
    # main moves with a merge that is no news to dev: it verifies nothing again
    tip = lab.land({"README.md": b"news\n"})
    assert first != tip
    assert lab.promote("staging").after.commit == tip


def test_a_model_of_an_earlier_commit_is_never_promoted(lab: Lab) -> None:
    lab.train("a")
    lab.release("staging")
    lab.train("b")
    dvc = (lab.origin.read("main", "dvc.yaml") or b"").replace(b"make it", b"make it better")
    stale = lab.land({"dvc.yaml": dvc})
    lab.verify("dev", stale)
    with pytest.raises(RuleError) as caught:
        lab.promote("staging")
    (line,) = str(caught.value).splitlines()
    why = 'its command was "make it", is "make it better" (export)'
    assert f"{stale[:12]} has the model of an earlier commit: {why}; train main, merge its candidate" in line
    # Nor into prod, where somebody has put it into staging by hand.
    lab.declare("staging", f"commit: {stale}\n")
    lab.verify("staging", stale)
    with pytest.raises(RuleError, match="has the model of an earlier commit"):
        lab.promote("prod")
    # To go back needs nobody's training.
    state = lab.state()
    assert rollback(lab.clone, state, "staging", lab.remote).after.commit is not None


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (model_files("a", 0.84), "mean accuracy: 0.8400, at least 0.8500 is asked for"),
        (model_files("a", profile="small"), "profile: small, full is asked for"),
        (
            model_files("a", difference=0.1),
            "ONNX equals PyTorch: 0.1 apart, 0 decisions changed, at most 0.001, 0 changed is asked for",
        ),
        ({"dags/example.py": b""}, "has no trained model yet; train one and merge its candidate"),
    ],
)
def test_gates(lab: Lab, files: dict[str, bytes], says: str) -> None:
    lab.land(files)
    with pytest.raises(RuleError, match=says.replace(".", r"\.")):
        lab.promote("staging")


def test_a_worse_model_does_not_replace_a_better_one(lab: Lab) -> None:
    lab.train("a", 0.93)
    lab.release("staging")
    lab.train("b", 0.90)
    with pytest.raises(RuleError, match="no worse than the incumbent"):
        lab.promote("staging")
    lab.train("c", 0.925)
    assert lab.promote("staging").known is False


def test_hand_edits_meet_the_same_rules(lab: Lab) -> None:
    first = lab.train("a")
    lab.release("staging")
    second = lab.train("b")
    lab.release("staging")
    side = lab.commit(model_files("c"))
    lab.origin.git("update-ref", "refs/heads/side", side)
    assert "not on main" in refused(lab, "staging", Release(commit=side))
    assert "is no commit of this repository" in refused(lab, "staging", Release(commit="f" * 40))
    assert "is older than" in refused(lab, "staging", Release(commit=first))
    assert "staging has the release" in refused(lab, "staging", Release(commit=lab.tip))
    assert "a release is not removed" in refused(lab, "staging", Release(commit=None))
    assert "takes the release of staging" in refused(lab, "prod", Release(commit=first))
    assert "never ran" in refused(lab, "staging", Release(commit=lab.tip, hold="x"))
    assert "no release to roll back from" in refused(lab, "prod", Release(commit=second, hold="x"))
    assert refused(lab, "prod", Release(commit=second)) == ""


def test_a_commit_of_a_merged_branch_never_ran_in_dev(lab: Lab) -> None:
    lab.train("a")
    side = lab.branch("side", model_files("b"))
    lab.merge("side")
    assert lab.origin.is_ancestor(side, lab.tip)
    assert "not on main" in refused(lab, "staging", Release(commit=side))
    lab.verify("dev", lab.tip)
    assert refused(lab, "staging", Release(commit=lab.tip)) == ""


def test_rollback_and_hold(lab: Lab) -> None:
    first = lab.train("a")
    lab.release("staging")
    second = lab.train("b")
    lab.release("staging")
    state = lab.state()
    proposal = rollback(lab.clone, state, "staging", lab.remote, reason="faces are\nupside down")
    assert proposal.after.commit == first
    assert [one.reason for one in proposal.after.holds()] == ["faces are upside down"]
    assert proposal.branch == "rollback/staging"
    push(lab.clone, lab.remote, proposal)
    lab.merge("rollback/staging")

    lab.train("c")
    with pytest.raises(
        RuleError, match=r"staging is held: faces are upside down \(.*, .* UTC\); lift the hold first"
    ):
        lab.promote("staging")
    with pytest.raises(RuleError, match="is the first verified release of staging"):
        rollback(lab.clone, lab.state(), "staging", lab.remote)

    state = lab.state()
    proposal = unhold(lab.clone, state, "staging", lab.remote)
    assert proposal.after == Release(commit=first)
    push(lab.clone, lab.remote, proposal)
    lab.merge("unhold/staging")
    with pytest.raises(NothingToDoError, match="not held"):
        unhold(lab.clone, lab.state(), "staging", lab.remote)
    assert second != lab.release("staging")


def held(lab: Lab, environment: str) -> list[str]:
    return [one.reason for one in lab.state().present(environment).holds()]


def land(lab: Lab, proposal: Proposal) -> None:
    push(lab.clone, lab.remote, proposal)
    lab.merge(proposal.branch)


def test_a_freeze_outlasts_the_hold_of_a_rollback(lab: Lab) -> None:
    first = lab.train("a")
    lab.release("staging")
    second = lab.train("b")
    lab.release("staging")
    freeze = hold(lab.clone, lab.state(), "staging", lab.remote, "change freeze", until=date(2099, 1, 2))
    assert freeze.message.startswith("Hold staging\n")
    land(lab, freeze)
    land(lab, rollback(lab.clone, lab.state(), "staging", lab.remote))
    assert lab.state().present("staging").commit == first
    assert held(lab, "staging") == ["change freeze", f"rolled back from {second[:12]}"]
    with pytest.raises(
        RuleError, match=r"freeze \(.*, until 2099-01-02\); rolled .*--reason 'change freeze'"
    ):
        promote(lab.clone, lab.state(), "staging", lab.remote)
    with pytest.raises(RuleError, match=r"has 2 holds; name one: .*unhold staging --reason 'change freeze'"):
        unhold(lab.clone, lab.state(), "staging", lab.remote)
    with pytest.raises(RuleError, match="has no holds with unknown"):
        unhold(lab.clone, lab.state(), "staging", lab.remote, reason="unknown")
    land(lab, unhold(lab.clone, lab.state(), "staging", lab.remote, reason="Rolled back"))
    assert held(lab, "staging") == ["change freeze"]
    lab.train("c")
    with pytest.raises(RuleError, match="staging is held: change freeze"):
        lab.promote("staging")
    land(lab, unhold(lab.clone, lab.state(), "staging", lab.remote))
    assert lab.state().present("staging").hold is None
    assert lab.promote("staging").after.hold is None


def test_a_hold_ends_on_its_day(lab: Lab) -> None:
    lab.train("a")
    before, day = datetime(2031, 1, 1, 23, 59, tzinfo=UTC), date(2031, 1, 2)
    after = before + timedelta(minutes=1)
    land(lab, hold(lab.clone, lab.state(), "staging", lab.remote, "freeze", until=day, now=before))
    with pytest.raises(RuleError, match="staging is held: freeze"):
        promote(lab.clone, lab.state(), "staging", lab.remote, now=before)
    proposal = promote(lab.clone, lab.state(), "staging", lab.remote, now=after)
    assert proposal.after.hold is None
    assert "Hold: freeze (" in proposal.message
    with pytest.raises(RuleError, match="--until 2031-01-02 is over"):
        hold(lab.clone, lab.state(), "staging", lab.remote, "freeze", until=day, now=after)


def test_a_hold_that_is_there_is_proposed_once(lab: Lab) -> None:
    lab.train("a")
    early = datetime(2031, 1, 1, tzinfo=UTC)
    first = hold(lab.clone, lab.state(), "prod", lab.remote, "freeze", now=early)
    push(lab.clone, lab.remote, first)
    again = hold(lab.clone, lab.state(), "prod", lab.remote, "freeze", now=early + timedelta(hours=1))
    assert (again.commit, again.known) == (first.commit, True)
    lab.merge("hold/prod")
    with pytest.raises(NothingToDoError, match="held for that reason already"):
        hold(lab.clone, lab.state(), "prod", lab.remote, "freeze")
    land(lab, hold(lab.clone, lab.state(), "prod", lab.remote, "freeze", until=date(2099, 1, 1)))
    assert [(one.reason, one.until) for one in lab.state().present("prod").holds()] == [
        ("freeze", date(2099, 1, 1))
    ]
    with pytest.raises(RuleError, match="no reason for the hold"):
        hold(lab.clone, lab.state(), "prod", lab.remote, " ")


def test_rollback_goes_to_the_last_verified_one(lab: Lab) -> None:
    first = lab.train("a")
    lab.release("staging")
    lab.train("b")
    lab.merge(lab.promote("staging").branch)
    lab.train("c")
    lab.release("staging")
    assert rollback(lab.clone, lab.state(), "staging", lab.remote).after.commit == first


def test_rollback_to_what_it_ran(lab: Lab) -> None:
    lab.train("a")
    unverified = lab.promote("staging").after.commit
    assert unverified is not None
    lab.merge("promote/staging")
    never = lab.train("b")
    present = lab.train("c")
    lab.release("staging")
    assert (
        rollback(lab.clone, lab.state(), "staging", lab.remote, to=unverified[:8]).after.commit == unverified
    )
    with pytest.raises(RuleError, match=rf"never ran {never}; --to takes one of: {unverified[:12]}"):
        rollback(lab.clone, lab.state(), "staging", lab.remote, to=never)
    with pytest.raises(NothingToDoError, match="already has"):
        rollback(lab.clone, lab.state(), "staging", lab.remote, to=present)
    lab.verify("staging", unverified, "rejected")
    with pytest.raises(RuleError, match="staging rejected"):
        rollback(lab.clone, lab.state(), "staging", lab.remote, to=unverified)


def test_nothing_to_roll_back(lab: Lab) -> None:
    with pytest.raises(RuleError, match="prod: prod has no release yet"):
        rollback(lab.clone, lab.state(), "prod", lab.remote)
    lab.train("a")
    lab.release("staging")
    with pytest.raises(RuleError, match="no other release ran there: hold promotions") as refused:
        rollback(lab.clone, lab.state(), "staging", lab.remote)
    (finding,) = refused.value.findings
    assert finding.command == ".venv/bin/gitops hold staging --reason 'broken release' --push"


def test_dev_and_unknown_environments(lab: Lab) -> None:
    for command in (promote, rollback, unhold):
        with pytest.raises(RuleError, match="dev: dev always runs main"):
            command(lab.clone, lab.state(), "dev", lab.remote)
        with pytest.raises(EnvironmentsError, match="qa: no such environment"):
            command(lab.clone, lab.state(), "qa", lab.remote)


def test_proposing_again(lab: Lab) -> None:
    lab.train("a")
    first = lab.promote("staging")
    again = lab.promote("staging")
    assert (again.known, again.commit) == (True, first.commit)
    lab.train("b")
    newer = lab.promote("staging")
    assert newer.known is False
    assert lab.origin.resolve("promote/staging") == newer.commit != first.commit


def test_the_message_says_what_changes(lab: Lab) -> None:
    lab.train("a", 0.9)
    lab.release("staging")
    lab.land(
        {"dags/new.py": b"", "params.yaml": b"profile: full\ntrain:\n  learning_rate: 0.2\n  epochs: 3\n"}
    )
    lab.train("b", 0.91)
    message = lab.promote("staging").message
    for line in (
        "  dags/new.py",
        "  train.epochs: none -> 3",
        "  train.learning_rate: 0.1 -> 0.2",
        "Accuracy: 0.9000 -> 0.9100",
        "  mean accuracy: 0.9000 (0.8869 to 0.9131) -> 0.9100 (0.8975 to 0.9225) (+0.0100)",
    ):
        assert line in message
    assert "Dependencies" in message.partition("\nUnchanged: ")[2].splitlines()[0]


def test_describe_nothing(lab: Lab) -> None:
    first = describe(lab.clone, lab.state(), None, lab.tip)
    assert first.startswith("Release: no release -> ")
    assert "none ->" not in first.partition("Accuracy")[2].partition("\n")[2]
    assert "\nParameters: " in first
    assert len(first.splitlines()) < 15
    assert "Unchanged: DAGs, Parameters" in describe(lab.clone, lab.state(), lab.tip, lab.tip)


def test_a_broken_file_on_main_can_be_promoted_over(lab: Lab) -> None:
    lab.train("a")
    lab.release("staging")
    second = lab.train("b")
    lab.declare("staging", "nonsense\n")
    assert lab.promote("staging").after.commit is not None
    assert lab.state().present("staging").commit != second


def test_two_people_promote_at_once(lab: Lab, tmp_path: Path) -> None:
    lab.train("a")
    other = Repository.clone(str(lab.origin.path), tmp_path / "other")
    # Two people: the same proposal of one person in one second would be one commit.
    other.git("config", "user.name", "Other")
    people = ((lab.clone, lab.state()), (other, fetch_state(other, lab.remote)))
    proposals = [promote(repository, state, "staging", lab.remote) for repository, state in people]
    together = threading.Barrier(2)

    def go(repository: Repository, proposal: Proposal) -> str:
        together.wait()
        try:
            push(repository, lab.remote, proposal)
        except PushRejectedError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(go, (lab.clone, other), proposals))
    assert said[0] == ""
    assert "promote/staging was changed by somebody else meanwhile. Run the command again" in said[1]
    assert lab.origin.resolve("promote/staging") in {proposal.commit for proposal in proposals}

    again = fetch_state(other, lab.remote)
    assert promote(other, again, "staging", lab.remote).known
    lab.merge("promote/staging")
    with pytest.raises(RuleError, match="promote/staging: no such branch"):
        merge(other, lab.remote, "promote/staging")
    with pytest.raises(NothingToDoError, match="staging already has the release of dev"):
        promote(other, fetch_state(other, lab.remote), "staging", lab.remote)


def test_a_push_that_is_not_allowed_is_not_blamed_on_others(lab: Lab) -> None:
    lab.train("a")
    state = lab.state()
    proposal = promote(lab.clone, state, "staging", lab.remote)
    hook = lab.origin.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'POLICY 17: name a ticket' >&2\nyes x | head -n 9999 >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(
        PushRejectedError, match=r"pre-receive hook declined\) POLICY 17: name a ticket x.{,400}$"
    ):
        push(lab.clone, lab.remote, proposal)
