import pytest

from gitops.errors import ForgeError
from gitops.forge import runs
from gitops.forge.github import GitHub
from tests.support.forge import NAME, Forge
from tests.support.forge_server import client

WRITE = {"pull-requests": "write", "actions": "read"}


@pytest.fixture
def github(forge: Forge) -> GitHub:
    commit = forge.repository.commit_files(forge.sha("main"), {"b": b"b"}, "More")
    forge.repository.git("update-ref", "refs/heads/more", commit)
    return client(forge, **WRITE)


def test_one_for_a_branch_kept_up_to_date(forge: Forge, github: GitHub) -> None:
    made, done = github.keep("more", "More", "Of it")
    assert (made.number, made.title, made.fork, done) == (2, "More", NAME, "opened")
    assert github.keep("more", "More", "Of it")[1] == "left as it is"
    forge.pulls[made.number].body = "Of it\r\n"
    assert github.keep("more", "More", "Of it")[1] == "left as it is"
    changed, done = github.keep("more", "More", "Of that")
    assert (changed.number, changed.body, done) == (made.number, "Of that", "updated")
    assert [one.method for one in forge.requests if one.method != "GET"] == ["POST", "PATCH"]


def test_one_that_somebody_opened_at_the_same_moment(forge: Forge, github: GitHub) -> None:
    def somebody_is_quicker(request: object) -> None:
        if getattr(request, "method", "") == "POST" and not forge.pulls:
            forge.open_pull("more", "Theirs")

    forge.broken = somebody_is_quicker
    kept, done = github.keep("more", "Mine", "Body")
    assert (kept.title, done, len(forge.pulls)) == ("Mine", "updated", 1)


def test_what_github_refuses_is_told(github: GitHub) -> None:
    with pytest.raises(ForgeError, match=r"422 .*head is invalid"):
        github.keep("nothing", "x", "y")


def test_one_of_a_fork_is_another(forge: Forge, github: GitHub) -> None:
    forge.open_pull("more", "Theirs", fork="acme/copy", commit=forge.sha("main"))
    assert github.find("more") is None


def test_it_is_closed_with_a_reason(forge: Forge, github: GitHub) -> None:
    made, _ = github.keep("more", "More", "Of it")
    github.close(made, "Because.")
    assert forge.pulls[made.number].state == "closed"
    assert [one["body"] for one in forge.comments.values()] == ["Because."]
    assert github.find("more") is None


def run_of(forge: Forge, number: int, **changes: object) -> int:
    pull = forge.pulls[number]
    shown = forge.shown(pull)["head"]
    forge.runs[7] = {
        "event": "pull_request",
        "head_sha": shown["sha"],
        "head_branch": shown["ref"],
        "head_repository": shown["repo"],
        **changes,
    }
    return 7


@pytest.mark.parametrize("fork", [NAME, "stranger/visage"])
def test_the_pull_request_of_a_run(forge: Forge, github: GitHub, fork: str) -> None:
    main = forge.sha("main")
    # A pull request of the same branch name elsewhere, and one of the same commit, are not it.
    forge.open_pull("more", "Decoy", fork="stranger/another", commit=forge.sha("more"))
    forge.open_pull("other", "Decoy", fork="stranger/visage", commit=forge.sha("more"))
    pull = forge.open_pull("more", "It", fork=fork, commit="" if fork == NAME else forge.sha("more"))
    found = runs.of_run(github, run_of(forge, pull.number))
    assert found is not None
    assert found.number == pull.number
    assert runs.of_run(github, run_of(forge, pull.number, head_sha=main)) is None
    assert runs.of_run(github, run_of(forge, pull.number, head_repository=None)) is None
    pull.state = "closed"
    assert runs.of_run(github, run_of(forge, pull.number)) is None


def test_a_run_of_another_event(forge: Forge, github: GitHub) -> None:
    pull = forge.open_pull("more", "It")
    with pytest.raises(ForgeError, match="run 7: started by push, not by a pull request"):
        runs.of_run(github, run_of(forge, pull.number, event="push"))
