import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gitops.cli import app, releases
from gitops.diff.load import load_difference
from gitops.promotion import due
from gitops.promotion.due import awaited
from gitops.release.snapshot import Snapshot
from gitops.text import instructions
from tests.gitops import poison
from tests.support.command import captured
from tests.support.fake_airflow import FakeAirflow
from tests.support.figures import model_files, model_md5
from tests.support.lab import Lab


@pytest.fixture
def run(lab: Lab, dvc_remote: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(lab.clone.path)
    for name in "abc":
        digest = model_md5(name)
        file = dvc_remote / "files" / "md5" / digest[:2] / digest[2:]
        file.parent.mkdir(parents=True)
        file.write_text(name)

    def invoke(*args: str) -> Result:
        result = CliRunner().invoke(app, args)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def test_help_names_every_command(run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in ("status", "promote", "rollback", "unhold", "check", "merge"):
        assert command in result.output
        assert run(command, "--help").exit_code == 0


def test_wrong_usage_is_2(run) -> None:
    assert run("promote").exit_code == 2
    assert run("promote", "staging", "--wave", "prod").exit_code == 2
    assert run("nonsense").exit_code == 2
    assert run("status", "--nonsense").exit_code == 2


def test_an_environment_that_there_is_not_is_refused(lab: Lab, run) -> None:
    refused = run("promote", "qa")
    assert refused.exit_code == 1
    assert "qa: no such environment\n  There are dev, staging, prod." in refused.stderr


def test_from_dev_to_prod_and_back(lab: Lab, run) -> None:
    first = lab.train("a")
    shown = run("promote", "staging")
    assert shown.exit_code == 0
    assert "The gates of staging" in shown.output
    assert "Not pushed" in shown.output
    assert not lab.origin.has("promote/staging")

    pushed = run("promote", "staging", "--push")
    assert pushed.exit_code == 0
    assert "gitops merge promote/staging" in pushed.output
    assert run("check", "--head", "promote/staging").exit_code == 0
    assert run("merge", "promote/staging").exit_code == 0
    nothing = run("promote", "staging", "--push")
    assert (nothing.exit_code, "Nothing to do" in nothing.output) == (0, True)

    refused = run("promote", "prod", "--push")
    assert refused.exit_code == 1
    assert "staging has not verified" in refused.stderr
    assert "The gates of prod" in refused.output
    lab.verify("staging", first)
    assert run("promote", "prod", "--push").exit_code == 0
    assert run("merge", "promote/prod").exit_code == 0

    lab.train("b")
    lab.release("staging")
    whole = instructions.roll_back("staging", instructions.Meeting("origin"), reason="too slow")
    shown = run("rollback", "staging", "--reason", "too slow")
    assert instructions.text(whole, indent="    ") in shown.output
    back = run("rollback", "staging", "--reason", "too slow", "--push")
    assert back.exit_code == 0, back.output
    assert back.output.endswith(f"Next commands:\n\n{instructions.text(whole[1:], indent='    ')}\n")
    assert run("merge", "rollback/staging").exit_code == 0
    lab.train("c")
    held = run("promote", "staging")
    assert (held.exit_code, "staging is held: too slow" in held.stderr) == (1, True)
    assert run("unhold", "staging", "--push").exit_code == 0
    assert run("merge", "unhold/staging").exit_code == 0
    assert run("promote", "staging", "--push").exit_code == 0


def test_a_hold_on_the_command_line(lab: Lab, run) -> None:
    lab.train("a")
    at = instructions.Meeting("origin")
    whole = instructions.hold("staging", at, reason="change freeze", until="2099-01-02")
    options = ("--reason", "change freeze", "--until", "2099-01-02")
    assert instructions.text(whole, indent="    ") in run("hold", "staging", *options).output
    assert run("hold", "staging", *options, "--push").exit_code == 0
    assert run("merge", "hold/staging").exit_code == 0
    held = run("promote", "staging")
    assert (held.exit_code, "until 2099-01-02" in held.stderr) == (1, True)
    assert run("hold", "staging", "--reason", "x", "--until", "2 January").exit_code == 2
    assert run("hold", "dev", "--reason", "x").exit_code == 1
    assert run("unhold", "staging", "--reason", "freeze", "--push").exit_code == 0
    assert run("merge", "unhold/staging").exit_code == 0
    assert run("promote", "staging").exit_code == 0


def test_the_earlier_name_of_unhold_still_works(lab: Lab, run) -> None:
    assert "release-hold" not in run("--help").output
    lab.train("a")
    lab.release("staging")
    lab.train("b")
    lab.release("staging")
    assert run("rollback", "staging", "--push").exit_code == run("merge", "rollback/staging").exit_code == 0
    assert run("release-hold", "staging", "--push").exit_code == 0
    lab.origin.git("branch", "--move", "unhold/staging", "release-hold/staging")
    assert run("merge", "release-hold/staging").exit_code == 0
    assert lab.state().present("staging").hold is None
    branches = lab.origin.git("branch", "--list", "release-hold/*", "rollback/*")
    assert branches == ""


def test_a_promotion_can_wait_for_the_verdict(lab: Lab, run, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = lab.train("a", verified=False)
    monkeypatch.setattr(releases, "_PAUSE", 0.01)
    too_soon = run("promote", "staging", "--wait", "--minutes", "0")
    assert (too_soon.exit_code, "dev has not verified" in too_soon.stderr) == (1, True)
    waited = 0

    def verify(state: Any, environment: str) -> list[str]:
        nonlocal waited
        waited += 1
        if waited == 2:
            lab.verify("dev", commit)
        return awaited(state, environment)

    monkeypatch.setattr(due, "awaited", verify)
    done = run("promote", "staging", "--push", "--wait")
    assert done.exit_code == 0, done.output
    assert done.output.count("Waiting for dev to verify the release") == 1
    assert waited >= 3
    # Nobody waits for the others once one of them has said no.
    lab.verify("dev", lab.train("b", verified=False), "rejected")
    assert "dev rejected" in run("promote", "staging", "--wait").stderr


def test_a_wait_without_a_terminal_prints_a_line_now_and_then(
    lab: Lab, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.train("a", verified=False)
    monkeypatch.setattr(releases, "_PAUSE", 0.01)
    looks = [["dev"]] * 4

    def missing(*_: object) -> list[str]:
        return looks.pop() if looks else []

    monkeypatch.setattr(due, "awaited", missing)
    quiet = run("promote", "staging", "--wait").stdout.splitlines()
    looks += [["dev"]] * 4
    monkeypatch.setattr(releases, "_HEARTBEAT", 0)
    lines = run("promote", "staging", "--wait").stdout.splitlines()
    assert [line for line in lines if line.startswith("Waiting for dev to verify the release")] == quiet[:1]
    beats = [line for line in lines if re.fullmatch(r"  still waiting after \d+ s, at most 15 minutes", line)]
    assert (len(beats), sum("still waiting" in line for line in quiet)) == (3, 0)


def test_a_merge_tells_that_a_training_is_due(lab: Lab, run) -> None:
    lab.train("a")
    dvc = (lab.origin.read("main", "dvc.yaml") or b"").replace(b"make it", b"make it better")
    lab.branch("better", {"dvc.yaml": dvc})
    result = run("merge", "better")
    assert result.exit_code == 0
    assert "main has a model of an earlier commit: train. Since then: its command was" in result.output
    assert result.output.splitlines()[-1] == "  .venv/bin/gitops train main --wait"
    checked = run("check", "--head", "better")
    assert checked.exit_code == 0


def test_dev_is_not_promoted_to(run) -> None:
    result = run("promote", "dev")
    assert result.exit_code == 1
    assert result.stderr.startswith("Cannot promote to dev: dev always runs main\n")


def test_check_lists_every_violation_and_exits_1(lab: Lab, run) -> None:
    files = {"environments/staging/release.yaml": b"x: 1\n", "environments/prod/settings.env": b"Y=1\n"}
    lab.branch("edit", files)
    result = run("check", "--base", "main", "--head", "edit")
    assert result.exit_code == 1
    first = [line for line in result.stderr.splitlines() if line.startswith("Cannot merge edit into main: ")]
    assert len(first) == 2
    assert "staging/release.yaml: x: unknown key" in result.stderr
    assert "prod/settings.env:1: Y: unknown" in result.stderr


def test_check_takes_the_checkout_s_own_commit(lab: Lab, run) -> None:
    (lab.clone.path / "environments/staging/release.yaml").write_text("x: 1\n")
    assert run("check").exit_code == 0
    lab.clone.git("commit", "-q", "-a", "-m", "Edit", env=lab.clone.identity())
    assert run("check").exit_code == 1
    assert run("check", "--head", "nope").exit_code == 1
    assert run("check", "--base", "nope").exit_code == 1


def test_no_training_has_begun(lab: Lab, run) -> None:
    assert run("runs").stdout == "No training has begun yet. Next: .venv/bin/gitops train main --wait\n"


def test_the_next_step_is_the_last_that_the_status_prints(lab: Lab, run) -> None:
    """It comes after the warning about a tag that is no verdict."""
    lab.clone.git("tag", "--annotate", "--message", "odd", "verified/dev/odd", env=lab.clone.identity())
    lab.clone.git("push", "--quiet", "origin", "verified/dev/odd")
    status = run("status")
    assert "verified/dev/odd" in status.stderr
    assert status.output.endswith("No model is trained yet, and nothing runs here. Next:\n\n    make up\n")


def test_the_status_names_a_main_that_was_rewritten(lab: Lab, run) -> None:
    start = lab.tip
    known = lab.train("a")
    run("status")
    rewritten = lab.commit(model_files("b"), on=start)
    lab.origin.git("update-ref", "refs/heads/main", rewritten)
    status = run("status")
    assert status.exit_code == 1
    assert f"main: was rewritten: {rewritten[:12]} does not contain {known[:12]}" in status.stderr


@pytest.mark.long
def test_references_that_git_confuses_change_nothing(lab: Lab, run) -> None:
    """Git takes a tag for a branch of its name, and a branch `refs/heads/main` for main."""
    commit = lab.train("a")
    lab.declare("staging", f"commit: {commit}\n")
    lab.verify("staging", commit)
    declared = [row["declared"] for row in json.loads(run("status", "--json").stdout)]
    evil = lab.commit(model_files("evil", 0.99), on=lab.tip)
    confusing = ("main", "HEAD", "FETCH_HEAD", "origin/main", "heads/main", "refs/heads/main", "dev", commit)
    others = ("remotes/origin/main", "gitops/origin/heads/main", "bisect/bad", "stash", "pull/1/head")
    for name in (*(f"{kind}/{name}" for kind in ("tags", "heads") for name in confusing[1:]), *others):
        lab.origin.git("update-ref", f"refs/{name}", evil)
    lab.origin.git("update-ref", "refs/tags/main", evil)
    lab.clone.git("fetch", "--quiet", "--tags", "origin")
    assert [row["declared"] for row in json.loads(run("status", "--json").stdout)] == declared
    for command in (("promote", "prod", "--push"), ("merge", "promote/prod")):
        done = run(*command)
        assert done.exit_code == 0, done.output
    content = lab.origin.read("refs/heads/main", "environments/prod/release.yaml") or b""
    assert f"commit: {commit}\n".encode() in content


def test_a_clone_that_knows_no_dvc_remote(lab: Lab, run, isolated_home: Path) -> None:
    lab.train("a")
    (isolated_home / "dvc" / "config").unlink()
    refused = run("promote", "staging", "--push")
    assert refused.exit_code == 1
    assert "no DVC remote is configured" in refused.stderr
    for command in (("doctor",), ("storage", "move", "new")):
        refused = run(*command)
        assert refused.exit_code == 1
        assert refused.stderr.endswith("Next: .venv/bin/dvc remote default NAME\n"), command
    unchecked = run("promote", "staging", "--push", "--without-dvc-remote")
    assert unchecked.exit_code == 0
    assert "Not checked: whether the model exists" in unchecked.stderr
    for command in (("check", "--head", "promote/staging"), ("merge", "promote/staging")):
        assert run(*command).exit_code == 1
        assert "Not checked: " in run(*command, "--without-dvc-remote").stderr


def test_the_remote_to_work_with(lab: Lab, run, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.train("a")
    lab.clone.git("remote", "rename", "origin", "upstream")
    result = run("promote", "staging")
    assert (result.exit_code, "there are: upstream" in result.stderr) == (1, True)
    assert run("promote", "staging", "--remote", "upstream").exit_code == 0
    monkeypatch.setenv("GITOPS_REMOTE", "upstream")
    assert run("promote", "staging").exit_code == 0
    monkeypatch.delenv("GITOPS_REMOTE")
    lab.clone.git("remote", "add", "visage", str(lab.origin.path))
    assert run("promote", "staging").exit_code == 0


def test_outside_a_repository(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("status")
    assert result.exit_code == 1
    assert result.stderr.startswith("Cannot show the status: git rev-parse: not a git repository")
    assert len(result.stderr.splitlines()) == 2


def test_status_json(lab: Lab, run, tmp_path: Path) -> None:
    commit = lab.train("a", 0.9)
    down = run("status", "--json")
    assert down.exit_code == 1
    assert [row["agree"] for row in json.loads(down.stdout)] == [False, False, False]

    access = tmp_path / "access.json"
    with FakeAirflow() as dev, FakeAirflow() as empty:
        dev.dag("example", commit)
        entries = {"dev": dev.access, "staging": empty.access, "prod": empty.access}
        content = {
            name: {**entry.model_dump(), "password": entry.password.get_secret_value()}
            for name, entry in entries.items()
        }
        access.write_text(json.dumps(content))
        up = run("status", "--json", "--access", str(access))
        table = run("status", "--access", str(access))
    assert up.exit_code == 0
    rows = json.loads(up.stdout)
    asked_for = ["environment", "declared", "running", "model_sha256", "mean_accuracy", "verified", "agree"]
    assert list(rows[0])[:7] == asked_for
    assert [row["environment"] for row in rows] == ["dev", "staging", "prod"]
    assert (rows[0]["declared"], rows[0]["running"], rows[0]["mean_accuracy"]) == (commit, commit, 0.9)
    assert "s3cret" not in up.output + table.output
    assert table.exit_code == 0
    assert commit[:12] in table.output


def test_what_is_piped_is_plain(lab: Lab) -> None:
    lab.train("a")
    lab.branch("edit", model_files("b", 0.1))
    environment = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "COLUMNS")}
    result = captured(
        [sys.executable, "-m", "gitops", "check", "--head", "edit"],
        cwd=lab.clone.path,
        env=environment | {"TERM": "xterm-256color"},
    )
    assert result.returncode == 1
    assert "\x1b" not in result.stdout + result.stderr
    assert result.stderr.startswith("Cannot merge edit into main: ")
    assert "airflow" not in result.stderr


RELEASE_BOMB = b"commit: &a0 [x, x, x, x, x, x, x, x]\n" + b"".join(
    b"k%d: &a%d [%s]\n" % (number, number, b", ".join([b"*a%d" % (number - 1)] * 9))
    for number in range(1, 12)
)
POISONS = (b"commit: !!bool maybe\n", b"commit: !!timestamp x\n", RELEASE_BOMB, b"\xff", b"x" * 3_000_000)


@pytest.fixture
def poisoned(lab: Lab) -> Lab:
    """Two releases of staging and prod; odd tags, and on main odd commits and files that were taken back."""
    for name in "ab":
        commit = lab.train(name)
        for environment in ("staging", "prod"):
            lab.declare(environment, f"commit: {commit}\n")
            lab.verify(environment, commit)
    good = {path: lab.origin.read("main", path) for path in lab.origin.files("main", "environments")}
    good |= {path: lab.origin.read("main", path) for path in ("dvc.lock", "params.yaml")}
    for poison_ in POISONS:
        files = {f"environments/{environment}/release.yaml": poison_ for environment in ("staging", "prod")}
        lab.land(files | {"dvc.lock": poison_, "params.yaml": poison_})
    settings = "environments/prod/settings.env"
    lab.land({settings: (good[settings] or b"").replace(b"MIN_SOAK_HOURS=0", b"MIN_SOAK_HOURS=1e300")})
    lab.land(good)
    tree = lab.origin.git("rev-parse", f"{lab.tip}^{{tree}}")
    for options in (
        {},
        {"date": "-1 +0000"},
        {"date": "x"},
        {"date": "1700000000 +0000", "extra": "encoding UTF-16LE\n"},
        {"date": "1700000000 +0000", "message": b"x" * 300_000},
        {"message": b"\xff\x1b[31m\n"},
    ):
        lab.origin.git("update-ref", "refs/heads/main", poison.commit(lab.origin, tree, [lab.tip], **options))
    list(poison.tags(lab.origin, "rejected", "prod", commit))
    list(poison.tags(lab.origin, "verified", "staging", commit))
    return lab


def test_no_command_stumbles_over_what_others_pushed(poisoned: Lab, run) -> None:
    lab = poisoned
    before = lab.state().history("prod")[0].commit
    lab.branch("poison", {"environments/prod/release.yaml": RELEASE_BOMB, "dvc.lock": RELEASE_BOMB})
    status = run("status")
    assert (before or "")[:12] in status.output
    named = [line for line in status.stderr.splitlines() if ": ignored, " in line]
    assert len(named) == 10
    assert "more tags: ignored; list them: git ls-remote --tags origin" in status.stderr
    assert json.loads(run("status", "--json").stdout)[2]["declared"] == before

    refused = run("check", "--head", "poison")
    assert refused.exit_code == 1
    assert "environments/prod/release.yaml:1: an anchor (&)" in refused.stderr
    assert run("merge", "poison").exit_code == 1
    assert run("check", "--head", "main").exit_code == 0
    state = lab.state()
    found = load_difference(
        lab.clone,
        state.main,
        Snapshot.load(lab.clone, lab.clone.branch_ref(lab.remote, "poison")),
        load_dags=False,
    )
    assert "cannot be read" in found.text()

    lab.train("c")
    promoted = run("promote", "staging", "--push")
    assert promoted.exit_code == 0, promoted.stderr
    assert run("merge", "promote/staging").exit_code == 0
    back = run(
        "rollback", "prod", "--push", "--reason", "smoke \U0001f469\u200d\U0001f692 \x1b[31m in the rack"
    )
    assert back.exit_code == 0, back.stderr
    assert run("merge", "rollback/prod").exit_code == 0
    declared = lab.state().declared("prod")
    assert declared.commit not in (None, before)
    [hold] = declared.release.holds()
    assert hold.reason == "smoke \U0001f469 \U0001f692 [31m in the rack"
    assert run("unhold", "prod", "--push").exit_code == 0


def test_verbose_shows_each_git_command_on_standard_error(run) -> None:
    plain, verbose = run("scope"), run("-v", "scope")
    assert ": git rev-parse" not in plain.stderr
    assert ": git rev-parse" in verbose.stderr
    assert verbose.stdout == plain.stdout
