"""The story of a pull request with code: checked, reported on, and checked again after a push."""

import html

import pytest

from tests.workflows.conftest import CODE, World

MARK = '![](https://cml.dev/watermark.png#0 "CML watermark Visage report")'
EMPTY_ZIP = b"PK\x05\x06" + bytes(18)


def comments(world: World, number: int) -> list[str]:
    return [world.forge.comments[one]["body"] for one in world.forge.pulls[number].comments]


@pytest.mark.long
def test_a_code_pull_request(world: World) -> None:
    forge = world.forge
    better = world.commit({CODE: b"ACCURACY = 0.75\n"}, "Do better")
    forge.push("refs/heads/better", better)
    pull = forge.open_pull("better", "Do better")
    done = world.happen()
    assert done == {"pull request": "success", "verdict": "success"}, world.log("pull request")

    checks = world.checks()
    ran = dict.fromkeys(("scope", "lint", "test", "dags", "train"), "success")
    assert checks == ran | {"review": "skipped"}
    (report,) = comments(world, pull.number)
    assert report.startswith(
        "**OK to merge `better` into main. It changes: Code (src/face&#95;attributes).**"
    )
    assert "On the same small data" in report
    assert "| mean accuracy | 0.7000 | 0.7500 | +0.0500 |" in report
    assert "| job `train` | " in report
    assert "US dollars" in report
    assert 'CML watermark Visage report")' in report
    assert world.last("verdict").results["judge"].summary in report

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
    asked = [one.method for one in forge.requests if "comments" in one.path]
    assert asked == ["GET", "GET", "POST", "GET", "GET", "PATCH"]


@pytest.mark.long
def test_a_job_that_fails_is_what_the_verdict_and_the_report_say(world: World) -> None:
    forge = world.forge
    world.replace("test", "echo 'FAILED tests/test_x.py::test_y - boom'; exit 1")
    forge.push("refs/heads/broken", world.commit({"tests/test_x.py": b"assert False\n"}, "Break"))
    pull = forge.open_pull("broken", "Break")
    assert world.happen() == {"pull request": "failure", "verdict": "failure"}
    assert world.checks("verdict") == {"judge": "failure", "comment": "success"}
    # The reviewer sees it beside the file, too.
    shown = (
        "::error file=tests/test_x.py,title=tests/test_x.py%3A%3Atest_y::boom; run in a checkout: make test"
    )
    assert shown in world.log("pull request")
    assert "job test ended with failure: tests/test_x.py::test_y: boom" in world.log("verdict")
    states = {one["context"]: one["state"] for one in forge.statuses}
    assert states == {"verdict": "failure", "report": "success"}
    (report,) = comments(world, pull.number)
    assert report.startswith("**Do not merge `broken` into main: 1 problem. It changes no release")
    assert "`job test`: ended with failure: tests/test_x.py::test_y: boom; read" in html.unescape(report)
    assert f"([log of the job]({forge.url}/acme/visage/actions/runs/" in report


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
    named = ("scope", "lint", "review", "test", "dags", "train")
    for name in named:
        run.add_job(name, "success")
    forge.artifacts[1] = {"run": run.number, "name": "trial", "content": EMPTY_ZIP}
    run.end("success")
    world.happen("verdict")
    assert forge.checks[(bad, "verdict")] == "failure", world.log("verdict")
    assert not mark.exists()
    assert pull.state == "open"


@pytest.mark.long
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


@pytest.mark.long
def test_without_cml_the_report_is_one_comment_all_the_same(world: World) -> None:
    """As long as infra/cml.txt has no digest, or once the releases of CML are gone."""
    forge = world.forge
    world.replace("cml", "exit 1")
    forge.push("refs/heads/words", world.commit({"README.md": b"x\n"}, "Write"))
    pull = forge.open_pull("words", "Write")
    for _ in range(2):
        assert world.happen() == {"pull request": "success", "verdict": "success"}
        forge.push("refs/heads/words", world.commit({"README.md": b"y\n"}, "Write on", on="words"))
    (report,) = comments(world, pull.number)
    assert report.startswith("**OK to merge `words` into main.")
    assert {one["state"] for one in forge.statuses} == {"success"}


@pytest.mark.long
@pytest.mark.parametrize("before", [["OK to merge", MARK], ["Spam"] * 31], ids=["its mark", "a flood"])
def test_nobody_elses_comment_gets_the_report_or_hides_it(world: World, before: list[str]) -> None:
    """CML changes the last of the first 30 comments that has its mark, whoever wrote it."""
    forge = world.forge
    forge.push("refs/heads/words", world.commit({"README.md": b"x\n"}, "Write"))
    pull = forge.open_pull("words", "Write")
    for body in before:
        forge.write_comment(pull.number, "stranger", body)
    for _ in range(2):
        assert world.happen() == {"pull request": "success", "verdict": "success"}, world.log("verdict")
        forge.push("refs/heads/words", world.commit({"README.md": b"y\n"}, "Write on", on="words"))
    *others, report = comments(world, pull.number)
    assert others == before
    assert report.startswith("**OK to merge `words` into main.")


@pytest.mark.long
def test_where_cml_fails_the_page_has_the_report_and_the_commit_a_failed_status(world: World) -> None:
    forge = world.forge
    forge.broken = lambda request: 500 if request.path.endswith("/comments") else None
    forge.push("refs/heads/words", world.commit({"README.md": b"x\n"}, "Write"))
    forge.open_pull("words", "Write")
    assert world.happen() == {"pull request": "success", "verdict": "failure"}
    assert "OK to merge " in world.last("verdict").results["judge"].summary.splitlines()[0]
    assert [one["state"] for one in forge.statuses] == ["success", "failure"]
