"""`gitops log` and `gitops status` name the people behind a release."""

import json

import pytest
from typer.testing import CliRunner

from gitops.cli import app
from gitops.release.people import People, people
from tests.support.lab import Lab


def commit_as(lab: Lab, name: str, *args: str) -> None:
    identity = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": "x@example.org"}
    lab.clone.git(*args, env=lab.clone.identity() | identity)


@pytest.fixture
def released(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> str:
    """A release of staging that Ada proposed and Grace merged, as a forge does."""
    commit = lab.train("a")
    monkeypatch.chdir(lab.clone.path)
    lab.clone.git("fetch", "--quiet", "origin")
    lab.clone.git("switch", "--quiet", "--create", "promote/staging", "origin/main")
    (lab.clone.path / "environments/staging/release.yaml").write_text(f"commit: {commit}\n")
    commit_as(lab, "Ada \x1b[31mLovelace", "commit", "--quiet", "--all", "--message", "Promote it")
    lab.clone.git("switch", "--quiet", "--detach", "origin/main")
    commit_as(
        lab, "Grace Hopper", "merge", "--quiet", "--no-ff", "--message", "Merge it (#7)", "promote/staging"
    )
    lab.clone.git("push", "--quiet", "origin", "HEAD:main")
    return commit


def test_the_log_names_who_proposed_and_who_merged(released: str) -> None:
    [row] = json.loads(CliRunner().invoke(app, ["log", "staging", "--json"]).stdout)
    assert (row["release"], row["verdict"], row["subject"]) == (released, "not verified", "Merge it (#7)")
    assert (row["proposed_by"], row["merged_by"]) == ("Ada [31mLovelace", "Grace Hopper")
    text = CliRunner().invoke(app, ["log", "staging"]).stdout
    assert "proposed by Ada [31mLovelace, merged by Grace Hopper" in text
    assert "\x1b" not in text
    empty = CliRunner().invoke(app, ["log", "prod"])
    assert (empty.exit_code, empty.stdout) == (0, "prod has had no release yet.\n")


def test_a_file_of_the_checkout_renames_nobody(released: str, lab: Lab) -> None:
    """The branch that is checked out may be somebody else's."""
    (lab.clone.path / ".mailmap").write_text("Eve <x@example.org>\n")
    [row] = json.loads(CliRunner().invoke(app, ["log", "staging", "--json"]).stdout)
    assert row["merged_by"] == "Grace Hopper"


def test_the_log_has_the_reason_of_a_rejection(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.clone.path)
    lab.train("a")
    commit = lab.release("staging")
    lab.verify("staging", commit, "rejected")
    [row] = json.loads(CliRunner().invoke(app, ["log", "staging", "--json"]).stdout)
    assert row["verdict"] == "rejected"
    assert row["reason"]
    assert f"  rejected: {row['reason']}" in CliRunner().invoke(app, ["log", "staging"]).stdout


def test_the_status_names_them_too(released: str) -> None:
    shown = CliRunner().invoke(app, ["status"]).stdout
    assert ", proposed by Ada [31mLovelace, merged by Grace Hopper" in shown
    rows = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert (rows[1]["proposed_by"], rows[1]["merged_by"]) == ("Ada [31mLovelace", "Grace Hopper")
    assert rows[2]["merged_by"]


def test_a_change_that_nobody_merged_has_its_author_and_committer(lab: Lab) -> None:
    tip = lab.origin.resolve("main")
    name = lab.origin.git("show", "--no-patch", "--format=%an", tip)
    assert people(lab.origin, [tip]) == {tip: People(name, name)}
    assert str(People("Ada", "Ada")) == "proposed and merged by Ada"
    assert people(lab.origin, []) == {}
