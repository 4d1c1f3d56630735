"""The story of a candidate: a branch that a training pushed gets its pull request, and its verdict."""

import re
from pathlib import Path

import pytest

from tests.support.figures import model_files
from tests.support.trained import Trained, call, dvc, train_again
from tests.workflows.conftest import REAL_LINT, REAL_LINT_DOCUMENTS, World


def trained(world: World, name: str, accuracy: float, branch: str) -> str:
    """Let an environment's training push a candidate."""
    message = f"Candidate: mean accuracy {accuracy:.4f}"
    commit = world.commit(model_files(name, accuracy), message)
    world.forge.push(f"refs/heads/{branch}", commit, actor="deploy key of dev")
    return commit


@pytest.mark.long
def test_a_candidate(world: World) -> None:
    forge = world.forge
    commit = trained(world, "first", 0.9, "candidate/manual-1")
    done = world.happen()
    # The App opened it, so its checks ran.
    ran = dict.fromkeys(("event", "candidate", "pull request", "verdict"), "success")
    assert done == ran | {"promote": "skipped"}, world.log("candidate")
    (pull,) = forge.pulls.values()
    assert (pull.title, pull.branch, pull.author) == (
        "Candidate: mean accuracy 0.9000",
        "candidate/manual-1",
        "visage[bot]",
    )
    # One judgement, in the comment; the description has the facts that stay true.
    assert "It changes: " in pull.body
    assert "merged into main" not in pull.body
    (comment,) = (forge.comments[one]["body"] for one in pull.comments)
    assert comment.startswith("**OK to merge `candidate/manual-1` into main. It changes")
    assert "Compared with the release of each environment" in comment
    assert "<summary>Gates</summary>" in comment
    checks = world.checks()
    skipped = {name for name, result in checks.items() if result == "skipped"}
    assert skipped == {"lint", "review", "test", "dags", "train"}
    (post,) = [one for one in forge.requests if (one.method, one.path[-6:]) == ("POST", "/pulls")]
    assert post.path == "/repos/acme/visage/pulls"
    assert post.body == {"title": pull.title, "head": pull.branch, "base": "main", "body": pull.body}
    assert post.actor == "visage[bot]"
    (token,) = [one for one in forge.tokens.values() if one.actor == "visage[bot]"]
    assert token.permissions == {"contents": "read", "pull-requests": "write"}
    merge = forge.merge(pull.number, approved_by="somebody")
    assert forge.repository.is_ancestor(commit, merge)


@pytest.mark.long
def test_a_candidate_that_fails_a_gate_is_open_for_all_to_see_and_cannot_be_merged(world: World) -> None:
    forge = world.forge
    trained(world, "bad", 0.6, "candidate/manual-2")
    done = world.happen("event", "candidate", "pull request", "verdict")
    assert done == {
        "event": "success",
        "candidate": "success",
        "pull request": "success",
        "verdict": "failure",
    }
    (pull,) = forge.pulls.values()
    (comment,) = (forge.comments[one]["body"] for one in pull.comments)
    assert "Do not merge " in comment.splitlines()[0]
    assert "It changes: " in comment.splitlines()[0]
    assert "mean accuracy: 0.6" in comment
    assert "fails: mean accuracy" in comment


def test_the_branch_goes_after_the_merge(world: World) -> None:
    forge = world.forge
    trained(world, "first", 0.9, "candidate/manual-3")
    forge.events.clear()
    forge.push("refs/heads/candidate/manual-3", None)
    assert world.happen("event", "candidate") == {"event": "skipped", "candidate": "skipped"}


@pytest.mark.long
@pytest.mark.parametrize(("branch", "workflow"), [("candidate/manual-4", "candidate"), ("words", "promote")])
def test_a_workflow_of_a_fork_with_the_name_of_ours_starts_nothing(
    world: World, branch: str, workflow: str
) -> None:
    forge = world.forge
    commit = world.commit({"docs/news.md": b"News.\n"}, "Write")
    forge.open_pull(branch, "Write", fork="stranger/visage", commit=commit)
    world.start(world.workflow("event"), forge.events.pop()).end("success")
    assert world.happen(workflow) == {workflow: "skipped"}


@pytest.mark.timeout(1800)
@pytest.mark.long
def test_a_candidate_as_a_training_makes_it_passes_the_lint_that_is_run_for_it(
    world: World, trained_once: Trained
) -> None:
    forge, origin, made = world.forge, trained_once.origin, trained_once.candidate
    world.replace("lint", REAL_LINT)
    world.replace("lint-documents", REAL_LINT_DOCUMENTS)
    names = origin.changed(trained_once.base, made)
    commit = world.commit({name: origin.read(made, name) for name in names}, "Candidate")
    forge.push("refs/heads/candidate/manual-1", commit, actor="deploy key of dev")
    done = world.happen("event", "candidate", "pull request", "verdict")
    expected = ("event", "candidate", "pull request", "verdict")
    assert done == dict.fromkeys(expected, "success"), world.log("pull request")
    assert re.search(r"no secrets\.+(\x1b\[\d+m)?Passed", world.log("pull request"))
    (pull,) = forge.pulls.values()
    forge.merge(pull.number, approved_by="somebody")
    forge.events.clear()

    # The next pull request that lints every file, once main has a model
    forge.push("refs/heads/words", world.commit({"infra/words.txt": b"Words.\n"}, "Write"))
    forge.open_pull("words", "Write")
    assert world.happen("pull request") == {"pull request": "success"}, world.log("pull request")
    assert world.checks()["lint"] == "success"


@pytest.mark.timeout(1800)
@pytest.mark.long
def test_from_drifted_images_to_the_merged_candidate(
    world: World, trained_once: Trained, tmp_path: Path
) -> None:
    """Dark photographs come in with their labels, a second training takes them up, and the rest follows."""
    forge, here = world.forge, trained_once.copy_whole(tmp_path / "trained")
    first = here.merge(here.branch)
    batch, run = "dev-2026-02-03", "drift__2026-02-04T00:00:00+00:00"
    with dvc(here.folder):
        folder = here.folder / "home" / "labelled" / batch
        call(["draw", str(folder), "--count", "300", "--seed", "9", "--light", "0.45", "--noise", "12"])
        branch = train_again(here, first, run, batch)
    second = here.origin.resolve(f"refs/heads/{branch}")

    def files(start: str, end: str) -> dict[str, bytes | None]:
        return {name: here.origin.read(end, name) for name in here.origin.changed(start, end)}

    # GitHub's main has the first model, as the merge of its candidate left it.
    forge.push("refs/heads/main", world.commit(files(here.base, first), "Merge the first candidate"))
    forge.events.clear()
    world.replace("lint-documents", REAL_LINT_DOCUMENTS)
    message = here.origin.git("show", "--no-patch", "--format=%B", second)
    commit = world.commit(files(first, second), message)
    forge.push(f"refs/heads/{branch}", commit, actor="deploy key of dev")
    done = world.happen()
    ran = dict.fromkeys(("event", "candidate", "pull request", "verdict"), "success")
    assert done == ran | {"promote": "skipped"}, world.log("pull request") + world.log("verdict")
    assert {name for name, result in world.checks().items() if result == "success"} == {"scope"}
    (pull,) = forge.pulls.values()
    (comment,) = (forge.comments[one]["body"] for one in pull.comments)
    assert comment.startswith(f"**OK to merge `{branch}` into main. It changes")
    assert batch in comment
    assert "Data (" in pull.body
    merge = forge.merge(pull.number, approved_by="somebody")
    assert world.happen() == {"model": "success", "promote": "success"}, world.log("model")
    assert forge.repository.read(merge, "dvc.lock") == here.origin.read(second, "dvc.lock")
