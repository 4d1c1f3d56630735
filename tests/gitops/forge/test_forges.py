"""The interface of a forge, on each forge that there is; and the story of a promotion on two of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.errors import ForgeError
from gitops.forge.choose import kind_of, open_forge
from gitops.forge.forgejo import server_of
from gitops.forge.github import GitHub
from gitops.forge.interface import JOBS, Forge, Status
from gitops.forge.plain import PlainGit
from tests.support.figures import model_files
from tests.support.forge import NAME
from tests.support.forge import Forge as Hub
from tests.support.forge_server import client, serve
from tests.support.forgejo import SCOPES, Forgejo
from tests.support.lab import ROOT, Lab

WRITE = {"pull-requests": "write", "statuses": "write", "checks": "read", "contents": "read"}


@pytest.fixture
def forgejo(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forgejo]:
    """A Forgejo that has the lab's origin as its repository, with the variables of its user."""
    made = Forgejo(tmp_path / "forgejo")
    made.repository.path.parent.mkdir(parents=True)
    made.repository.path.symlink_to(lab.origin.path)
    with serve(made):
        monkeypatch.setenv("FORGEJO_URL", made.url)
        monkeypatch.setenv("FORGEJO_REPOSITORY", NAME)
        monkeypatch.setenv("FORGEJO_TOKEN", made.token("bot", SCOPES))
        yield made


@pytest.fixture
def github(hub: Hub) -> GitHub:
    return client(hub, **WRITE)


@pytest.fixture(params=["github", "forgejo", "git"])
def where(request: pytest.FixtureRequest, lab: Lab) -> Forge:
    """A forge of each kind, with the lab's origin."""
    if request.param == "github":
        return request.getfixturevalue("github")
    if request.param == "forgejo":
        request.getfixturevalue("forgejo")
    return open_forge(lab.clone, lab.remote, request.param)


def test_a_proposal_from_its_branch_to_its_end(lab: Lab, where: Forge) -> None:
    assert where.proposals() == []
    commit = lab.branch("better", {"README.md": b"Better\n"})
    kept, done = where.keep("better", "Do better", "Why\n")
    assert (kept.branch, kept.head, done) == ("better", commit, "opened")
    assert where.keep("better", "Do better", "Why\n")[1] == "left as it is"
    assert where.keep("better", "Do better", "Another reason\n")[1] == "updated"
    assert [pull.branch for pull in where.proposals()] == ["better"]
    found = where.find("better")
    assert found is not None
    assert (found.head, found.branch) == (commit, "better")
    assert where.approvals(found) == []
    where.close(found, "Because.")
    assert where.find("better") is None
    assert where.proposals() == []


def test_a_report_is_one_comment_and_a_status_takes_the_place_of_the_one_before(
    lab: Lab, where: Forge
) -> None:
    commit = lab.branch("better", {"README.md": b"Better\n"})
    pull, _ = where.keep("better", "Do better", "Why\n")
    assert where.comment(pull, "visage: report", "**One**\n") == "opened"
    assert where.comment(pull, "visage: other", "**Another**\n") == "opened"
    assert where.comment(pull, "visage: report", "**One**\n") == "left as it is"
    assert where.comment(pull, "visage: report", "**Two**\n") == "updated"
    assert where.statuses(commit) == {}
    for state in ("pending", "success"):
        where.set_status(commit, "verdict", Status(state, f"is {state}", "https://example.org/1"))
    assert where.statuses(commit) == {"verdict": Status("success", "is success", "https://example.org/1")}


def test_a_comment_of_somebody_else_with_the_same_mark_stays(lab: Lab, forgejo: Forgejo) -> None:
    forge = open_forge(lab.clone, lab.remote, "forgejo")
    lab.branch("better", {"README.md": b"Better\n"})
    pull, _ = forge.keep("better", "Do better", "Why")
    forgejo.pulls[pull.number].comments.append(99)
    theirs = {"id": 99, "body": "<!-- visage: report -->", "user": {"login": "mallory"}}
    forgejo.comments[99] = theirs
    assert forge.comment(pull, "visage: report", "Report") == "opened"
    assert forgejo.comments[99]["body"] == theirs["body"]


def test_who_approves(lab: Lab, forgejo: Forgejo) -> None:
    forge = open_forge(lab.clone, lab.remote, "forgejo")
    lab.branch("better", {"README.md": b"Better\n"})
    pull, _ = forge.keep("better", "Do better", "Why")
    for login, state in [("ana", "APPROVED"), ("bo", "APPROVED"), ("bo", "REQUEST_CHANGES")]:
        forgejo.review(pull.number, login, state)
    forgejo.review(pull.number, "bot", "APPROVED")  # its author
    assert forge.approvals(pull) == ["ana"]
    # A push takes the approval away.
    assert forge.approvals(replace(pull, head=lab.tip)) == []


def test_notes_of_two_at_the_same_moment_are_both_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.branch("a", {"README.md": b"a\n"})
    lab.branch("b", {"README.md": b"b\n"})
    forge = PlainGit(lab.clone, lab.remote)
    first, second = forge.proposals()
    push, others = lab.clone.push, [second]

    def late(*args: Any, **options: Any) -> None:
        if others:
            forge.comment(others.pop(), "report", "B\n")
        push(*args, **options)

    monkeypatch.setattr(lab.clone, "push", late)
    assert forge.comment(first, "report", "A\n") == "opened"
    for pull, text in ((first, b"A\n"), (second, b"B\n")):
        assert lab.origin.read("refs/notes/visage/report", pull.head) == text
    shown = lab.origin.git("notes", "--ref=visage/report", "show", first.head)
    assert shown == "A"


def test_jobs_are_over_once_each_has_ended(lab: Lab, forgejo: Forgejo) -> None:
    forge = open_forge(lab.clone, lab.remote, "forgejo")
    commit = lab.branch("better", {"README.md": b"Better\n"})
    assert forge.jobs(commit) is None
    for name in JOBS:
        forgejo.job(commit, name, "pending", "Waiting to run")
    for name in JOBS:
        assert forge.jobs(commit) is None
        skipped = name in ("dags", "train")
        state = "failure" if name == "lint" else "success"
        forgejo.job(commit, name, state, "Has been skipped" if skipped else "after 3s")
    jobs = forge.jobs(commit) or {}
    assert {name: job.result for name, job in jobs.items()} == {
        "scope": "success",
        "lint": "failure",
        "review": "success",
        "test": "success",
        "dags": "skipped",
        "train": "skipped",
    }


def test_jobs_of_github_are_over_once_each_has_ended(lab: Lab, hub: Hub, github: GitHub) -> None:
    commit = lab.branch("better", {"README.md": b"Better\n"})
    hub.runs[7], hub.jobs[7] = {"head_sha": commit}, []
    for name in (*JOBS, "lint"):
        assert name == "lint" or github.jobs(commit) is None
        hub.jobs[7].append(
            {
                "name": name,
                "status": "completed",
                "conclusion": "failure" if hub.jobs[7] and name == "lint" else "success",
                "html_url": f"https://example.org/{name}",
                "started_at": "2026-01-01T00:00:00Z",
                "completed_at": "2026-01-01T00:00:30Z",
            }
        )
    jobs = github.jobs(commit) or {}
    # Of two runs of a job, the one that failed counts.
    assert {name: job.result for name, job in jobs.items() if job.result != "success"} == {"lint": "failure"}
    assert (jobs["scope"].seconds, jobs["scope"].url) == (30, "https://example.org/scope")


def test_the_rules_of_main_become_a_branch_protection(lab: Lab, forgejo: Forgejo) -> None:
    forge = open_forge(lab.clone, lab.remote, "forgejo")
    missing = {"merges": "different", "main": "missing", "deploy/**": "missing"}
    assert dict(forge.protect(ROOT, dry=True)) == missing
    assert forgejo.protections == {}
    assert dict(forge.protect(ROOT)) == {"merges": "changed", "main": "made", "deploy/**": "made"}
    rules = forgejo.protections["main"]
    assert (rules["status_check_contexts"], rules["required_approvals"]) == (["verdict"], 1)
    assert forgejo.settings[""]["allow_squash_merge"] is False
    assert set(dict(forge.protect(ROOT)).values()) == {"up to date"}
    forgejo.protections["main"]["required_approvals"] = 0
    assert dict(forge.protect(ROOT)) == {"merges": "up to date", "main": "changed", "deploy/**": "up to date"}
    assert forgejo.protections["main"]["required_approvals"] == 1


def test_the_user_of_the_timer_alone_pushes_the_manifests(lab: Lab, forgejo: Forgejo) -> None:
    forge = open_forge(lab.clone, lab.remote, "forgejo")
    assert dict(forge.protect(ROOT, user="visage"))["deploy/**"] == "made"
    rules = forgejo.protections["deploy/**"]
    assert (rules["enable_push"], rules["enable_push_whitelist"]) == (True, True)
    assert (rules["push_whitelist_usernames"], rules["push_whitelist_deploy_keys"]) == (["visage"], False)
    # Whoever does not name the user leaves it.
    assert dict(forge.protect(ROOT))["deploy/**"] == "up to date"
    rules["push_whitelist_usernames"] = ["visage", "stranger"]
    assert dict(forge.protect(ROOT, user="visage"))["deploy/**"] == "changed"
    assert forgejo.protections["deploy/**"]["push_whitelist_usernames"] == ["visage"]
    rules["enable_push_whitelist"] = False
    assert dict(forge.protect(ROOT, dry=True))["deploy/**"] == "different"


@pytest.mark.parametrize(
    ("url", "variables", "kind"),
    [
        ("git@github.com:acme/visage.git", {}, "github"),
        ("https://git.example.org/acme/visage.git", {"FORGEJO_TOKEN": "x"}, "forgejo"),
        (
            "https://git.example.org/acme/visage.git",
            {"GITHUB_API_URL": "https://git.example.org/api/v1", "GITHUB_REPOSITORY": NAME},
            "forgejo",
        ),
        ("https://github.acme.com/acme/visage", {"GITHUB_REPOSITORY": NAME}, "github"),
        ("/srv/visage.git", {}, "git"),
        ("../visage.git", {}, "git"),
        ("file:///srv/visage.git", {}, "git"),
    ],
)
def test_the_forge_of_a_remote(
    url: str, variables: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert kind_of(url) == kind


def test_a_server_that_may_be_any_forge_is_not_guessed() -> None:
    with pytest.raises(ForgeError, match="set GITOPS_FORGE to github, forgejo"):
        kind_of("git@git.example.org:acme/visage.git")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://git.example.org/acme/visage.git", "https://git.example.org"),
        ("https://x:y@git.example.org:3000/acme/visage", "https://git.example.org:3000"),
        ("http://127.0.0.1:3000/acme/visage", "http://127.0.0.1:3000"),
        ("git@git.example.org:acme/visage.git", "https://git.example.org"),
        ("ssh://git@git.example.org:2222/acme/visage.git", "https://git.example.org"),
        ("/srv/visage.git", ""),
        ("file:///srv/visage.git", ""),
    ],
)
def test_the_web_server_of_a_remote(url: str, server: str) -> None:
    assert server_of(url) == server


@pytest.fixture
def sync(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(lab.clone.path)

    def run(kind: str, command: str = "sync") -> Result:
        options = ["--without-dvc-remote"] if command == "sync" else []
        result = CliRunner().invoke(app, ["forge", command, "--forge", kind, *options])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def test_from_a_candidate_to_a_promotion_on_forgejo(lab: Lab, forgejo: Forgejo, sync) -> None:
    lab.branch("candidate/manual-1", model_files("first", 0.9))
    assert "candidate/manual-1 (#2): waits for its jobs" in sync("forgejo").output
    (pull,) = forgejo.pulls.values()
    head = forgejo.head(pull)
    for name in JOBS:
        forgejo.job(head, name, "success", "Successful in 3s")
    assert "candidate/manual-1 (#2): success: can be merged" in sync("forgejo").output
    (comment,) = forgejo.comments.values()
    assert comment["body"].startswith("**OK to merge `candidate/manual-1` into main. It changes")
    assert forgejo.statuses[-1]["state"] == "success"
    # Once for each commit and each main.
    asked = len(forgejo.requests)
    sync("forgejo")
    assert {one.method for one in forgejo.requests[asked:]} == {"GET"}
    assert "nobody" in sync("forgejo", "proposals").output

    lab.merge("candidate/manual-1")
    pull.state = "closed"  # as Forgejo does where it finds a merge by hand
    lab.verify("dev", lab.tip)
    assert ": opened, http" in sync("forgejo").output
    promotion = forgejo.pulls[max(forgejo.pulls)]
    assert (promotion.branch, promotion.author) == ("promote/staging", "bot")
    for name in JOBS:
        forgejo.job(forgejo.head(promotion), name, "failure" if name == "lint" else "success", "")
    assert "promote/staging (#4): failure: 1 problem" in sync("forgejo").output
    newest = forgejo.comments[max(forgejo.comments)]
    assert " into main: 1 problem" in newest["body"]


def test_from_a_candidate_to_a_promotion_on_a_plain_git_server(lab: Lab, sync) -> None:
    commit = lab.branch("candidate/manual-1", model_files("first", 0.9))
    output = sync("git").output
    assert "candidate/manual-1: success: can be merged" in output
    note = lab.origin.read("refs/notes/visage/visage-report", commit) or b""
    assert note.startswith(b"**OK to merge `candidate/manual-1` into main. It changes")
    lab.merge("candidate/manual-1")
    lab.verify("dev", lab.tip)
    assert "promote/staging: success: can be merged" in sync("git").output
    lab.merge("promote/staging")
    release = lab.origin.read("main", "environments/staging/release.yaml") or b""
    assert b"commit: null" not in release


def test_a_proposal_that_may_not_be_merged_on_a_plain_git_server(lab: Lab, sync) -> None:
    lab.branch("wrong", {"environments/staging/release.yaml": b"commit: " + b"1" * 40 + b"\n"})
    done = sync("git")
    assert (done.exit_code, "wrong: failure: 1 problem" in done.output) == (0, True)
    assert sync("git", "rules").output.startswith("main: left to the server")
    refused = CliRunner().invoke(app, ["forge", "sync", "--forge", "gitlab"])
    assert "--forge gitlab: not one of github, forgejo, git" in refused.output
