"""The story of a pull request with code: checked, reported on, and checked again after a push."""

from tests.workflows.conftest import CODE, World
from tests.workflows.runner import Job
from tests.workflows.workflow import Event

BEGAN = "2026-01-01T00:00:00Z"


def comments(world: World, number: int) -> list[str]:
    return [world.forge.comments[one]["body"] for one in world.forge.pulls[number].comments]


def test_a_code_pull_request(world: World) -> None:
    forge = world.forge
    better = world.commit({CODE: b"ACCURACY = 0.75\n"}, "Do better")
    forge.push("refs/heads/better", better)
    pull = forge.open_pull("better", "Do better")
    done = world.happen()
    assert done == {"pull request": "success", "verdict": "success"}, world.log("pull request")

    checks = {name: result.result for name, result in world.last("pull request").results.items()}
    assert checks == dict.fromkeys(("scope", "lint", "test", "dags", "train"), "success")
    (report,) = comments(world, pull.number)
    assert report.startswith("**`better` can be merged into main. It changes: Code (1).**")
    assert "On the same small data" in report
    assert "| mean accuracy | 0.7000 | 0.7500 | +0.0500 |" in report
    assert "| job `train` | " in report
    assert "US dollars" in report
    assert 'CML watermark Visage report")' in report
    assert world.last("verdict").results["comment"].summary in report

    posts = [(one.method, one.path) for one in forge.requests if one.method != "GET"]
    assert posts == [
        ("POST", f"/repos/acme/visage/statuses/{better}"),
        ("POST", f"/repos/acme/visage/issues/{pull.number}/comments"),
        ("POST", f"/repos/acme/visage/statuses/{better}"),
    ]
    verdict, status = forge.statuses
    assert (verdict["state"], verdict["context"]) == ("success", "verdict")
    assert (status["state"], status["context"]) == ("success", "report")
    assert status["target_url"].endswith(f"/acme/visage/actions/runs/{world.last('verdict').number}")

    # A push to it changes the comment, and the cache of the first run is used.
    worse = world.commit({CODE: b"ACCURACY = 0.65\n"}, "Do worse", on="better")
    forge.push("refs/heads/better", worse)
    assert world.happen() == {"pull request": "success", "verdict": "success"}
    (report,) = comments(world, pull.number)
    assert "| mean accuracy | 0.7000 | 0.6500 | -0.0500 |" in report
    assert "has the same inputs as an earlier trial" in world.last("pull request").results["train"].log
    assert [one.method for one in forge.requests if "comments" in one.path] == ["GET", "POST", "GET", "PATCH"]


def test_a_change_of_words_trains_nothing(world: World) -> None:
    forge = world.forge
    forge.push("refs/heads/words", world.commit({"docs/news.md": b"news\n"}, "Write"))
    pull = forge.open_pull("words", "Write")
    assert world.happen() == {"pull request": "success", "verdict": "success"}
    checks = {name: result.result for name, result in world.last("pull request").results.items()}
    assert [name for name, result in checks.items() if result == "skipped"] == ["test", "dags", "train"]
    assert [one["state"] for one in forge.statuses] == ["success", "success"]
    (report,) = comments(world, pull.number)
    assert "It changes no release" in report


def test_a_job_that_fails_is_what_the_verdict_and_the_report_say(world: World) -> None:
    forge = world.forge
    world.replaced["make test"] = "exit 1"
    forge.push("refs/heads/broken", world.commit({"tests/test_x.py": b"assert False\n"}, "Break"))
    pull = forge.open_pull("broken", "Break")
    assert world.happen() == {"pull request": "failure", "verdict": "failure"}
    results = world.last("verdict").results
    assert {name: result.result for name, result in results.items()} == {
        "judge": "failure",
        "comment": "success",
    }
    assert "refused: job test: ended with failure" in world.log("verdict")
    states = {one["context"]: one["state"] for one in forge.statuses}
    assert states == {"verdict": "failure", "report": "success"}
    (report,) = comments(world, pull.number)
    assert "must not be merged into main: 1 problem" in report


def test_a_fork_gets_a_report_and_no_secret(world: World) -> None:
    forge = world.forge
    words = world.commit({"docs/x.md": b"x\n"}, "Write")
    pull = forge.open_pull("main", "Write", fork="stranger/visage", commit=words)
    assert world.happen() == {"pull request": "success", "verdict": "success"}, world.log("pull request")
    (report,) = comments(world, pull.number)
    assert "`main` can be merged into main" in report
    run = world.last("pull request")
    for name, job in run.workflow.jobs.items():
        tokens = [one for one in forge.tokens.values() if one.actor == f"actions:{name}"]
        assert {level for one in tokens for level in one.permissions.values()} <= {"read"}
        assert set(Job(run, name, job, {}).contexts["secrets"].values()) == {""}


def test_a_branch_that_rewrites_the_judge_is_judged_by_main(world: World) -> None:
    """It brings a `gitops` and a Makefile that find everything fine, and a release that nobody may merge."""
    forge = world.forge
    mark = world.folder / "ran"
    fine = f"import pathlib\npathlib.Path({str(mark)!r}).write_text(__file__)\nprint('fine')\n".encode()
    bad = world.commit(
        {
            "src/gitops/__main__.py": fine,
            "src/gitops/promotion/check.py": fine,
            "Makefile": f"setup setup-gates:\n\ttouch {mark}\n".encode(),
            "environments/staging/release.yaml": b"commit: " + b"1" * 40 + b"\n",
        },
        "Improve",
    )
    forge.push("refs/heads/bad", bad)
    pull = forge.open_pull("bad", "Improve")
    event = forge.events.pop()
    run = world.start(world.workflow("pull request"), event)
    # Whatever its own jobs do, they say that all is well.
    named = ("scope", "lint", "test", "dags", "train")
    forge.jobs[run.number] = [
        {
            "name": name,
            "status": "completed",
            "conclusion": "success",
            "started_at": BEGAN,
            "completed_at": BEGAN,
        }
        for name in named
    ]
    forge.artifacts[(run.number, "trial")] = world.folder / "empty"
    (world.folder / "empty").mkdir()
    forge.runs[run.number] = run.shown_run("success")
    payload = {"action": "completed", "workflow_run": run.shown_run("success")}
    forge.events[:] = [Event("workflow_run", payload, "refs/heads/main", forge.sha("main"))]
    world.happen("verdict")
    assert forge.checks[(bad, "verdict")] == "failure", world.log("verdict")
    assert not mark.exists()
    assert pull.state == "open"


def test_a_report_of_a_commit_that_is_not_the_newest_any_more_is_not_posted(world: World) -> None:
    forge = world.forge
    forge.push("refs/heads/words", world.commit({"README.md": b"x\n"}, "Write"))
    pull = forge.open_pull("words", "Write")
    event = forge.events.pop()
    later = world.commit({"README.md": b"y\n"}, "Write on", on="words")
    forge.repository.git("update-ref", "refs/heads/words", later)
    forge.events[:] = [event]
    assert world.happen() == {"pull request": "success", "verdict": "success"}
    assert comments(world, pull.number) == []
    assert "no open pull request is at its commit any more" in world.log("verdict")


def test_where_cml_fails_the_page_has_the_report_and_the_commit_a_failed_status(world: World) -> None:
    forge = world.forge
    forge.broken = lambda request: 500 if request.path.endswith("/comments") else None
    forge.push("refs/heads/words", world.commit({"README.md": b"x\n"}, "Write"))
    forge.open_pull("words", "Write")
    assert world.happen() == {"pull request": "success", "verdict": "failure"}
    assert " can be merged into main. " in world.last("verdict").results["comment"].summary.splitlines()[0]
    assert [one["state"] for one in forge.statuses] == ["success", "failure"]
