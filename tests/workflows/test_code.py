"""The story of a pull request with code: checked, reported on, and checked again after a push."""

from tests.workflows.conftest import CODE, World
from tests.workflows.runner import Job
from tests.workflows.workflow import Event


def comments(world: World, number: int) -> list[str]:
    return [world.forge.comments[one]["body"] for one in world.forge.pulls[number].comments]


def test_a_code_pull_request(world: World) -> None:
    forge = world.forge
    better = world.commit({CODE: b"ACCURACY = 0.75\n"}, "Do better")
    forge.push("refs/heads/better", better)
    pull = forge.open_pull("better", "Do better")
    done = world.happen()
    assert done == {"pull request": "success", "comment": "success"}, world.log("pull request")

    checks = {name: result.result for name, result in world.last("pull request").results.items()}
    assert checks == dict.fromkeys(("scope", "lint", "test", "dags", "train", "verdict"), "success")
    (report,) = comments(world, pull.number)
    assert report.startswith("**`better` can be merged into main. It changes: Code (1).**")
    assert "On the same small data" in report
    assert "| mean accuracy | 0.7000 | 0.7500 | +0.0500 |" in report
    assert "| job `train` | " in report
    assert "US dollars" in report
    assert 'CML watermark Visage report")' in report
    assert world.last("comment").results["comment"].summary in report

    posts = [(one.method, one.path) for one in forge.requests if one.method != "GET"]
    assert posts == [
        ("POST", f"/repos/acme/visage/issues/{pull.number}/comments"),
        ("POST", f"/repos/acme/visage/statuses/{better}"),
    ]
    (status,) = forge.statuses
    assert (status["state"], status["context"]) == ("success", "report")
    assert status["target_url"].endswith(f"/acme/visage/actions/runs/{world.last('comment').number}")

    # A push to it changes the comment, and the cache of the first run is used.
    worse = world.commit({CODE: b"ACCURACY = 0.65\n"}, "Do worse", on="better")
    forge.push("refs/heads/better", worse)
    assert world.happen() == {"pull request": "success", "comment": "success"}
    (report,) = comments(world, pull.number)
    assert "| mean accuracy | 0.7000 | 0.6500 | -0.0500 |" in report
    assert "has the same inputs as an earlier trial" in world.last("pull request").results["train"].log
    assert [one.method for one in forge.requests if "comments" in one.path] == ["GET", "POST", "GET", "PATCH"]


def test_a_change_of_words_trains_nothing(world: World) -> None:
    forge = world.forge
    forge.push("refs/heads/words", world.commit({"docs/news.md": b"news\n"}, "Write"))
    pull = forge.open_pull("words", "Write")
    assert world.happen() == {"pull request": "success", "comment": "success"}
    checks = {name: result.result for name, result in world.last("pull request").results.items()}
    assert [name for name, result in checks.items() if result == "skipped"] == ["test", "dags", "train"]
    assert checks["verdict"] == "success"
    (report,) = comments(world, pull.number)
    assert "It changes no release" in report


def test_a_job_that_fails_is_what_the_verdict_and_the_report_say(world: World) -> None:
    forge = world.forge
    world.replaced["make test"] = "exit 1"
    forge.push("refs/heads/broken", world.commit({"tests/test_x.py": b"assert False\n"}, "Break"))
    pull = forge.open_pull("broken", "Break")
    assert world.happen() == {"pull request": "failure", "comment": "success"}
    assert world.last("pull request").results["verdict"].result == "failure"
    assert "refused: job test: ended with failure" in world.log("pull request")
    (report,) = comments(world, pull.number)
    assert "must not be merged into main: 1 problem" in report


def test_a_fork_gets_a_report_and_no_secret(world: World) -> None:
    forge = world.forge
    words = world.commit({"docs/x.md": b"x\n"}, "Write")
    pull = forge.open_pull("main", "Write", fork="stranger/visage", commit=words)
    assert world.happen() == {"pull request": "success", "comment": "success"}, world.log("pull request")
    (report,) = comments(world, pull.number)
    assert "merging `main` into main" in report
    tokens = [one for one in forge.tokens.values() if one.actor == "actions:verdict"]
    assert {level for one in tokens for level in one.permissions.values()} == {"read"}
    run = world.last("pull request")
    seen = Job(run, "verdict", run.workflow.jobs["verdict"], {}).contexts["secrets"]
    assert set(seen.values()) == {""}


def test_a_report_of_a_commit_that_is_not_the_newest_any_more_is_not_posted(world: World) -> None:
    forge = world.forge
    forge.push("refs/heads/words", world.commit({"README.md": b"x\n"}, "Write"))
    pull = forge.open_pull("words", "Write")
    event = forge.events.pop()
    later = world.commit({"README.md": b"y\n"}, "Write on", on="words")
    forge.repository.git("update-ref", "refs/heads/words", later)
    forge.events[:] = [event]
    assert world.happen() == {"pull request": "success", "comment": "success"}
    assert comments(world, pull.number) == []
    assert "no open pull request is at its commit any more" in world.log("comment")


def test_where_cml_fails_the_page_has_the_report_and_the_commit_a_failed_status(world: World) -> None:
    forge = world.forge
    forge.broken = lambda request: 500 if request.path.endswith("/comments") else None
    forge.push("refs/heads/words", world.commit({"README.md": b"x\n"}, "Write"))
    forge.open_pull("words", "Write")
    assert world.happen() == {"pull request": "success", "comment": "failure"}
    assert " can be merged into main. " in world.last("comment").results["comment"].summary.splitlines()[0]
    assert [one["state"] for one in forge.statuses] == ["failure"]


def test_what_a_run_left_is_text(world: World) -> None:
    """A fork can leave any report: it is passed on, and nothing of it is run or believed."""
    forge = world.forge
    forge.push("refs/heads/words", world.commit({"README.md": b"x\n"}, "Write"))
    pull = forge.open_pull("words", "Write")
    other = forge.open_pull("main", "Another", fork="stranger/visage", commit=forge.sha("main"))
    event = forge.pull_event(pull, "opened")
    forge.events.clear()
    mark = world.folder / "never"
    nasty = f"number={other.number}\n$(touch {mark}) `touch {mark}` ${{{{ github.token }}}} ::set-output"
    run = world.start(world.workflow("pull request"), event)
    kept = world.folder / "nasty"
    kept.mkdir()
    (kept / "report.md").write_text(nasty)
    forge.artifacts[(run.number, "report")] = kept
    forge.runs[run.number] = run.shown_run("success")
    payload = {"action": "completed", "workflow_run": run.shown_run("success")}
    forge.events.append(Event("workflow_run", payload, "refs/heads/main", forge.sha("main")))
    assert world.happen() == {"comment": "success"}, world.log("comment")
    (report,) = comments(world, pull.number)
    assert report.startswith(nasty)
    assert comments(world, other.number) == []
    assert not mark.exists()
