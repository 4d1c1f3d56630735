from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.forge.github import GitHub
from gitops.forge.promotions import PromotionStatus, apply, describe, plan
from gitops.model.cost import Cost, StageCost
from gitops.text import instructions
from tests.support.figures import model_files
from tests.support.forge import NAME, Forge
from tests.support.forge_server import client
from tests.support.lab import CHECKS, Lab


@pytest.fixture
def github(hub: Forge) -> GitHub:
    return client(hub, **{"pull-requests": "write"})


def status(lab: Lab, environment: str, *, now: datetime | None = None) -> PromotionStatus:
    return plan(lab.clone, lab.state(), environment, "origin", now=now)


def keep(lab: Lab, github: GitHub, environment: str) -> PromotionStatus:
    state = lab.state()
    return apply(github, lab.clone, state, "origin", plan(lab.clone, state, environment, "origin"))


def test_a_release_that_nobody_has_verified_waits(lab: Lab) -> None:
    assert (status(lab, "prod").state, status(lab, "prod").text) == ("wait", "staging has no release yet")
    commit = lab.train("a", verified=False)
    assert status(lab, "staging").text == f"dev has not verified {commit[:12]} yet"
    lab.verify("dev", commit)
    found = status(lab, "staging")
    assert (found.state, found.text) == ("open", f"Promote {commit[:12]} to staging")


def test_a_release_that_was_rejected_is_not_promoted(lab: Lab) -> None:
    commit = lab.train("a")
    lab.verify("dev", commit, "rejected")
    found = status(lab, "staging")
    assert (found.state, found.text) == ("over", f"dev rejected {commit[:12]} (rejected/dev/{commit[:12]})")


def test_a_model_of_an_earlier_commit_waits_for_a_training(lab: Lab) -> None:
    lab.train("a")
    lab.release("staging")
    dvc = (lab.origin.read("main", "dvc.yaml") or b"").replace(b"make it", b"make it better")
    lab.verify("dev", lab.land({"dvc.yaml": dvc}))
    found = status(lab, "staging")
    assert (found.state, "model of an earlier commit: train" in found.text) == ("wait", True)


def test_a_release_soaks(lab: Lab) -> None:
    path = "environments/prod/settings.env"
    settings = lab.origin.read(lab.tip, path)
    assert settings is not None
    lab.land({path: settings.replace(b"MIN_SOAK_HOURS=0", b"MIN_SOAK_HOURS=24")})
    lab.train("a")
    proposal = lab.promote("staging")
    lab.merge(proposal.branch)
    began = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    commit = proposal.after.commit
    assert commit is not None
    lab.verify("staging", commit, at=began)
    found = status(lab, "prod", now=began + timedelta(hours=23))
    assert found.state == "wait"
    assert found.text.endswith("not long enough ago; due 2026-01-02 12:00 UTC")
    assert status(lab, "prod", now=began + timedelta(hours=24)).state == "open"


def test_a_promotion_waits_for_its_window(lab: Lab) -> None:
    lab.verify("dev", lab.train("a"))
    freeze = b"windows: [{rule: deny, reason: freeze, start: 2026-01-01, end: 2026-01-05}]"
    lab.land({"environments/calendar.yaml": freeze})
    lab.verify("dev", lab.tip)
    found = status(lab, "staging", now=datetime(2026, 1, 3, tzinfo=UTC))
    assert found.state == "wait"
    assert found.text.endswith("is due, but promotions are closed: freeze; opens 2026-01-05 00:00 UTC")
    assert status(lab, "staging", now=datetime(2026, 1, 5, tzinfo=UTC)).state == "open"
    lab.land({"environments/calendar.yaml": b"windows: soon"})
    lab.verify("dev", lab.tip)
    assert status(lab, "staging").refused[0].subject == "environments/calendar.yaml"


def test_what_a_gate_forbids_is_refused(lab: Lab) -> None:
    commit = lab.train("a", 0.5)
    lab.verify("dev", commit)
    found = status(lab, "staging")
    assert found.state == "refused"
    assert "fails a gate: mean accuracy: 0.5" in found.text


def test_a_pull_request_lists_the_checks_of_the_verdict(lab: Lab) -> None:
    lab.verify("dev", lab.train("a", verified=False), checks=CHECKS[:1])
    proposal = status(lab, "staging").proposal
    assert proposal is not None
    text = describe(lab.clone, lab.state(), proposal, instructions.LOCAL)
    assert "Checks in dev: 1 passed" in text
    assert "| DAG files | 4 DAGs | all load | passed |" in text


def test_one_pull_request_in_place_until_it_is_merged(lab: Lab, hub: Forge, github: GitHub) -> None:
    lab.verify("dev", lab.train("a"))
    assert ": opened, http" in keep(lab, github, "staging").text
    assert ": left as it is, http" in keep(lab, github, "staging").text
    newer = lab.train("b", 0.92, verified=False)
    # The newer one waits for its verdict; what was verified can be merged meanwhile.
    assert "; still open: http" in keep(lab, github, "staging").text
    lab.verify("dev", newer)
    assert ": updated, http" in keep(lab, github, "staging").text
    (pull,) = hub.pulls.values()
    assert pull.title == f"Promote {newer[:12]} to staging"
    content = lab.origin.read("promote/staging", "environments/staging/release.yaml")
    assert newer.encode() in (content or b"")


def test_none_stays_open_while_a_hold_stands(lab: Lab, hub: Forge, github: GitHub) -> None:
    lab.train("a")
    held = lab.release("staging")
    lab.verify("dev", lab.train("b"))
    keep(lab, github, "staging")
    lab.declare("staging", f"commit: {held}\nhold: too *slow*\n")
    found = keep(lab, github, "staging")
    assert (found.state, "; closed http" in found.text) == ("over", True)
    (pull,) = hub.pulls.values()
    assert pull.state == "closed"
    (comment,) = hub.comments.values()
    assert comment["body"] == "Nothing to promote into staging any more: held: too &#42;slow&#42;."
    assert keep(lab, github, "staging").text == "held: too *slow*"
    assert len(hub.comments) == 1


def test_one_that_a_person_opened_is_the_one(lab: Lab, hub: Forge, github: GitHub) -> None:
    lab.verify("dev", lab.train("a"))
    proposal = lab.promote("staging")
    by_hand = hub.open_pull(proposal.branch, "By hand")
    assert ": updated, http" in keep(lab, github, "staging").text
    assert [one.number for one in hub.pulls.values()] == [by_hand.number]
    assert by_hand.title.startswith("Promote ")


@pytest.fixture
def run(lab: Lab, hub: Forge, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(lab.clone.path)
    monkeypatch.setenv("GITHUB_API_URL", f"{hub.url}/api")
    monkeypatch.setenv("GITHUB_REPOSITORY", NAME)
    monkeypatch.setenv("GITHUB_TOKEN", hub.token("app", {"pull-requests": "write", "contents": "read"}))

    def invoke(*args: str) -> Result:
        result = CliRunner().invoke(app, ["github", *args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def test_the_command(lab: Lab, hub: Forge, run) -> None:
    lab.verify("dev", lab.train("a"))
    done = run("promotions", "--without-dvc-remote", "--dry-run")
    assert (done.exit_code, done.stdout.startswith("staging: Promote ")) == (0, True)
    assert hub.requests == []
    assert not lab.origin.has("promote/staging")
    done = run("promotions", "--without-dvc-remote")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("staging: Promote ")
    assert lines[1] == "prod: staging has no release yet"
    lab.merge("promote/staging")
    lab.verify("dev", lab.train("b", 0.3))
    done = run("promotions", "--without-dvc-remote", "--dry-run")
    assert (done.exit_code, "fails a gate: mean accuracy: 0.3" in done.stdout) == (0, True)
    done = run("promotions", "--without-dvc-remote")
    assert done.exit_code == 1
    assert "Cannot " in done.stderr


def test_the_remote_on_github_is_not_that_of_the_engine(lab: Lab, run, tmp_path: Path) -> None:
    lab.clone.git("remote", "add", "visage", str(tmp_path / "nowhere.git"))
    done = run("promotions", "--dry-run")
    assert (done.exit_code, done.stdout.startswith("staging: dev has not verified ")) == (0, True)


def test_a_candidate_by_the_command(lab: Lab, hub: Forge, run) -> None:
    """Its description has facts that stay true; whether it may be merged is for the report."""
    base = lab.tip
    stage = StageCost(seconds=9, cpu_seconds=60, peak_bytes=10**9, read_bytes=1, written_bytes=1)
    spent = Cost(run="run/x", stages={"train": stage})
    message = f"Candidate: x\n\nTrained by run manual <1>.\n\n{spent.trailer}\n"
    made = lab.commit(model_files("x"), message=message)
    lab.origin.git("update-ref", "refs/heads/candidate/x", made)
    assert "candidate/x: opened, http" in run("candidate", "candidate/x").stdout
    (pull,) = hub.pulls.values()
    assert pull.title == "Candidate: x"
    assert "Trained by run manual &#60;1&#62;." in pull.body
    assert f"trained from `{base[:12]}` of main" in pull.body
    assert "The training took 60 s of processors, 1,000 MB of memory" in pull.body
    assert "Cost:" not in pull.body
    assert "Model (" in pull.body
    assert "can be merged" not in pull.body
    assert "candidate/x: left as it is" in run("candidate", "candidate/x").stdout
    assert run("candidate", "candidate/y").exit_code == 1


def test_what_is_due_is_found_without_models_and_without_a_gate(lab: Lab, hub: Forge, run) -> None:
    commit = lab.train("a", verified=False)
    done = run("promotions", "--due")
    assert (done.stdout, done.stderr.startswith("staging: dev has not verified")) == ("due=false\n", True)
    lab.verify("dev", commit)
    assert run("promotions", "--due").stdout == "due=true\n"
    # One that is open may have to be closed.
    run("promotions", "--without-dvc-remote")
    assert run("promotions", "--due").stdout == "due=true\n"
    assert len(hub.pulls) == 1
