"""What holds for every workflow, before any is run."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from gitops.cli import app
from tests.support.command import captured
from tests.support.forge import Event
from tests.workflows import stand_ins
from tests.workflows.act import Workflow
from tests.workflows.commands import gh
from tests.workflows.test_code import MARK

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github"
FILES = sorted((FOLDER / "workflows").glob("*.yml"))
ACTIONS = sorted((FOLDER / "actions").glob("*/action.yml"))
GITOPS = ".venv/bin/gitops"
CML = [".venv/bin/cml", "comment", "update"]


def steps_of(path: Path) -> list[dict[str, Any]]:
    """Every step of a workflow or an action."""
    data = YAML(typ="safe", pure=True).load(path.read_text())
    return (
        [step for job in data["jobs"].values() for step in job["steps"]]
        if "jobs" in data
        else data["runs"]["steps"]
    )


def lines() -> list[tuple[str, str]]:
    """Every `run` of every workflow and action, as one line."""
    steps = [(path.name, step) for path in (*FILES, *ACTIONS) for step in steps_of(path)]
    return [(name, str(step["run"]).strip()) for name, step in steps if "run" in step]


WRITES = {
    "model.attest": {"attestations", "id-token"},
    "promote.promote": {"deployments", "id-token"},
    "verdict.judge": {"id-token"},
    "verdict.comment": {"pull-requests", "statuses"},
    "image.image": {"attestations", "id-token", "packages"},
    "image.release": {"contents"},
}
# GitHub takes these from the commit that somebody pushed or proposed.
FOREIGN = {"event", "image", "pull-request"}


@pytest.mark.parametrize(("where", "line"), lines())
def test_a_step_is_one_command_that_a_person_can_run_too(where: str, line: str) -> None:
    assert "\n" not in line
    # What is only there for some runs is as good as what is always there.
    words = shlex.split(re.sub(r"\$\{[A-Z]+:\+(.*?)\}(?=\s|$)", r"\1", line))
    redirected = [word for word in words if word in (">", ">>")]
    if redirected:
        words = words[: words.index(redirected[0])]
    if words[0] == "make":
        (target,) = words[1:]
        makefile = (ROOT / "Makefile").read_text()
        assert target == "$TARGET" or re.search(rf"^{target}: .*## ", makefile, re.MULTILINE), target
    elif words[: len(CML)] == CML:
        assert where == "verdict.yml"
    elif words[0] in ("cat", "gh"):
        assert words[0] == "cat" or words[1] in ("api", "pr", "release")
    else:
        assert words[0] == GITOPS
        _resolves(words[1:])


def _resolves(words: list[str]) -> None:
    """Hold the words against what the command line takes, without running it."""
    command: Any = typer.main.get_command(app)
    if words[:2] == ["annotate", "--"]:
        assert re.search(rf"^{words[3]}: .*## ", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    while hasattr(command, "commands"):
        assert words[0] in command.commands, words
        command = command.commands[words.pop(0)]
    # Variables of the shell stand for values here.
    words = ["1" if re.fullmatch(r"\$[A-Z_]+(/.*)?", word) else word for word in words]
    words = ["0.1" if word == "$PRICE" else word for word in words]
    context = command.make_context(command.name, words, resilient_parsing=False)
    assert context.params


def test_an_option_that_there_is_none_of_is_found_out() -> None:
    with pytest.raises(Exception, match="No such option"):
        _resolves(["check", "--haed", "x"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_job_has_a_limit_and_the_least_grants(path: Path) -> None:
    workflow = Workflow(path)
    assert workflow.data["concurrency"]["group"]
    assert workflow.data["permissions"] == {}
    assert "env" not in workflow.data
    assert "pull_request_target" not in workflow.on
    for name, job in workflow.jobs.items():
        assert 1 <= job["timeout-minutes"] <= 180, name
        writes = {key for key, level in job["permissions"].items() if level == "write"}
        # The workflows that may write run nothing of a pull request; the others use the App.
        assert writes == WRITES.get(f"{path.stem}.{name}", set()), name
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_cml_reports_nothing_to_its_makers_and_uploads_nothing() -> None:
    (step,) = [step for path in FILES for step in steps_of(path) if "cml comment" in step.get("run", "")]
    assert step["env"]["ITERATIVE_DO_NOT_TRACK"] == "1"
    assert "--publish=false" in step["run"].split()


@pytest.mark.system("jq")
@pytest.mark.parametrize("number", [0, 1, 29, 30])
@pytest.mark.parametrize("marked", [[], [gh.ME], ["stranger"], [gh.ME, "stranger"], [gh.ME, gh.ME]])
def test_whether_cml_would_change_its_own_comment(number: int, marked: list[str]) -> None:
    """`gh` has its own jq, which answers as the stand-in of the other tests does."""
    (step,) = [step for step in steps_of(FOLDER / "workflows/verdict.yml") if "--jq" in step.get("run", "")]
    comments = [{"user": {"login": "ann"}, "body": "Words"}] * number
    comments += [{"user": {"login": login}, "body": f"x {MARK} y"} for login in marked]
    asked = captured(["jq", "--raw-output", step["env"]["FILTER"]], input=json.dumps(comments), check=True)
    assert asked.stdout == f"{gh.own(comments)}\n"


def test_an_artifact_is_kept_for_a_week() -> None:
    kept = [step["with"]["retention-days"] for path in FILES for step in steps_of(path) if _uploads(step)]
    assert kept == [7] * 3


def _uploads(step: dict[str, Any]) -> bool:
    return step.get("uses", "").startswith("actions/upload-artifact@")


def test_a_version_is_published_with_the_digest_of_its_image() -> None:
    job = Workflow(FOLDER / "workflows/image.yml").jobs["release"]
    (step,) = job["steps"]  # nothing of the tag's commit runs with the right to write
    assert step["run"].startswith('gh release create "$TAG" --verify-tag ')
    assert "needs.image.outputs.digest" in step["env"]["NOTES"]
    assert job["needs"] == ["image"]


def test_what_can_write_never_checks_out_what_is_proposed() -> None:
    for path in FILES:
        checkouts = [step for step in steps_of(path) if "checkout" in step.get("uses", "")]
        refs = {step["with"].get("ref") for step in checkouts}
        proposed = {"${{ github.event.pull_request.head.sha || github.event.merge_group.head_sha }}"}
        assert refs == (proposed if path.stem == "pull-request" else refs & {None, "main"})


def test_a_job_with_a_secret_runs_the_code_of_main_alone() -> None:
    """Its secrets are those of a GitHub Environment, which gives them to main alone."""
    asked = set()
    for path in FILES:
        workflow = Workflow(path)
        for name, job in workflow.jobs.items():
            has_secret = "secrets." in json.dumps(job)  # pragma: allowlist secret
            assert has_secret == ("environment" in job), f"{path.stem}.{name}"
            if not has_secret:
                continue
            asked.add(path.stem)
            refs = {step["with"].get("ref") for step in job["steps"] if "checkout" in step.get("uses", "")}
            assert refs == {"main"}, f"{path.stem}.{name}"
            # A cache or an artifact that other code wrote would be code, or the result of a check. Whatever
            # runs on main, such as a package of the lock, may write a cache that every job of main reads.
            for step in job["steps"]:
                used = step.get("uses", "").partition("@")[0]
                assert not used.startswith("actions/cache"), f"{path.stem}.{name}"
                assert used != "actions/download-artifact" or step["with"]["name"] in ("trial", "lock")
    assert asked == {"candidate", "dependencies", "model", "promote", "verdict"}
    assert not asked & FOREIGN


def test_no_job_takes_a_package_from_a_cache() -> None:
    """Whoever gets code to run on main could put other packages into it."""
    used = [step["uses"] for path in ACTIONS for step in steps_of(path) if "uses" in step]
    assert used
    assert not [one for one in used if "/cache" in one]
    places = {
        step["with"]["path"]
        for path in FILES
        for step in steps_of(path)
        if step.get("uses", "").startswith("actions/cache")
    }
    assert places == {".dvc/cache", ".visage/trials"}


def test_a_pull_request_saves_one_cache_which_only_its_own_runs_restore() -> None:
    """GitHub keeps the caches of a pull request from all others, but whoever runs on main writes for all."""
    saved = {
        (path.stem, step["with"]["path"])
        for path in FILES
        for step in steps_of(path)
        if step.get("uses", "").startswith("actions/cache/save")
    }
    assert {name for name, _ in saved} == {"pull-request", "scheduled"}
    assert {place for name, place in saved if name == "pull-request"} == {".visage/trials"}
    # Of what runs on main, nothing else runs a pull request's code.
    for path in FILES:
        if path.stem != "pull-request":
            assert "pull_request" not in Workflow(path).on
            assert "head_sha" not in json.dumps(
                [step for step in steps_of(path) if "checkout" in step.get("uses", "")]
            )


def test_only_main_saves_large_caches() -> None:
    """Every pull request may read them, and some of each would push main's out."""
    for path in (*FILES, *ACTIONS):
        for step in steps_of(path):
            used = step.get("uses", "").partition("@")[0]
            assert used != "actions/cache"
            if used == "actions/cache/save" and step["with"]["path"] != ".visage/trials":
                assert path.stem == "scheduled"


@pytest.mark.parametrize(
    ("conclusion", "judged"),
    [
        ("success", True),
        ("failure", True),
        ("timed_out", True),
        ("startup_failure", True),
        ("cancelled", False),
        ("action_required", False),
        ("neutral", False),
        ("skipped", False),
        ("stale", False),
    ],
)
def test_which_conclusions_of_a_run_are_judged(conclusion: str, judged: bool) -> None:
    condition = Workflow(FOLDER / "workflows/verdict.yml").jobs["judge"]["if"]
    assert (f'"{conclusion}"' in condition) is judged


def test_what_others_choose_the_text_of_has_no_secret_and_no_right_to_write() -> None:
    started = {path.stem for path in FILES if _from_elsewhere(Workflow(path).on)}
    assert started == FOREIGN
    for name in FOREIGN - {"image"}:  # a ruleset says who may push its tags
        for job in Workflow(FOLDER / "workflows" / f"{name}.yml").jobs.values():
            assert "secrets." not in json.dumps(job)
            assert set(job["permissions"].values()) <= {"read"}


def _from_elsewhere(on: dict[str, Any]) -> bool:
    """Return whether a commit that is not on main can start a workflow, in the form that it has there."""
    push = on.get("push") or {}
    return "pull_request" in on or bool(push.get("tags")) or set(push.get("branches", [])) - {"main"} != set()


def test_actions_are_pinned_with_the_version_beside_them() -> None:
    pins: dict[str, set[str]] = {}
    for path in [*FILES, *ACTIONS]:
        for uses, comment in re.findall(r"^ +(?:- )?uses: (\S+)(.*)", path.read_text(), re.MULTILINE):
            if uses.startswith("$/"):
                assert (ROOT / uses.removeprefix("$/") / "action.yml").is_file()
                continue
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", uses), uses
            # Nothing here stands in for a registry of images
            assert path.stem == "image" or uses.partition("@")[0] in stand_ins.ACTIONS
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), uses
            pins.setdefault(uses.partition("@")[0], set()).add(uses + comment)
    assert all(len(versions) == 1 for versions in pins.values())


def test_each_finding_that_a_workflow_ignores_is_on_the_page_with_its_reason() -> None:
    options = ("--offline", "--persona=auditor", "--no-ignores", "--quiet", "--format=json", ".github")
    found = json.loads(captured([Path(sys.executable).with_name("zizmor"), *options], cwd=ROOT).stdout)
    places = {
        (one["ident"], Path(one["locations"][0]["symbolic"]["key"]["Local"]["verbatim_path"]).name)
        for one in found
    }
    page = " ".join((ROOT / "docs/github-workflows.md").read_text().split())
    sentence = page.partition("find nothing but ")[2].partition(", which stay: ")[0]
    ident, *files = re.findall(r"`([\w.-]+)`", sentence.replace("`workflow_run`", ""))
    assert places == {(ident, file) for file in files}
    reasons = re.findall(r"zizmor: ignore\[[\w-]+\] \w+", "".join(file.read_text() for file in FILES))
    assert len(reasons) == len(places)


def test_actionlint_finds_nothing_and_would_find_a_context_that_does_not_exist(tmp_path: Path) -> None:
    def lint(*files: Path) -> str:
        return captured([Path(sys.executable).with_name("actionlint"), *files], cwd=ROOT).stdout

    assert lint() == ""
    text = FILES[0].read_text().replace("github.event.workflow_run.conclusion", "github.nope", 1)
    (tmp_path / "wrong.yml").write_text(text)
    assert 'property "nope" is not defined' in lint(tmp_path / "wrong.yml")


@pytest.mark.parametrize(
    ("stem", "ref", "starts"),
    [
        ("promote", "refs/heads/main", True),
        ("promote", "refs/heads/feature", False),
        ("promote", "refs/tags/verified/dev/abc", False),
        ("event", "refs/tags/verified/dev/abc", True),
        ("event", "refs/tags/verified/dev", False),
        ("event", "refs/tags/archive/run", False),
        ("event", "refs/heads/candidate/manual-2026", True),
        ("event", "refs/heads/candidates/x", False),
        ("candidate", "refs/heads/candidate/manual-2026", False),
        ("pull-request", "refs/heads/main", False),
    ],
)
def test_what_a_push_starts(stem: str, ref: str, starts: bool) -> None:
    assert Workflow(FOLDER / "workflows" / f"{stem}.yml").starts(Event("push", {}, ref, "0" * 40)) is starts


def test_dependabot_updates_what_it_can_update_whole_in_groups() -> None:
    """It cannot write requirements.lock: dependencies.yml keeps a pull request for that."""
    updates = YAML(typ="safe").load((FOLDER / "dependabot.yml").read_text())["updates"]
    assert {one["package-ecosystem"] for one in updates} == {
        "github-actions",
        "docker",
        "docker-compose",
    }
    assert all(one["groups"] for one in updates)
    (actions,) = [one for one in updates if one["package-ecosystem"] == "github-actions"]
    assert {f"/{path.parent.relative_to(ROOT)}" for path in ACTIONS} | {"/"} == set(actions["directories"])
