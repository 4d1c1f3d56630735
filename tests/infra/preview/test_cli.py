"""The commands of `gitops preview`, without an Airflow."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitops.cli import app as gitops
from infra.preview import cli, record
from infra.preview.host import Running
from infra.preview.local import LocalHost
from infra.preview.record import Preview, name_of
from tests.infra.preview.conftest import BRANCH, Bench


@pytest.fixture(autouse=True)
def _here(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.layout.checkout)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, [*arguments])
    return done.exit_code, done.output


def test_the_link_is_in_the_comment_on_the_branch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Preview] = []

    def up(self: LocalHost, branch: str, commit: str, hours: float, step: object) -> Running:
        del self, step
        preview = Preview(branch=branch, commit=commit, port=20_300, since=datetime.now(UTC), hours=hours)
        started.append(preview)
        return Running(preview, "http://preview.localhost:20300", "up", "password in a file")

    monkeypatch.setattr(LocalHost, "up", up)
    commit = bench.push({"dags/more.py": b"MORE = 1\n"})
    status, output = run("up", BRANCH, "--hours", "3")
    assert status == 0, output
    assert "http://preview.localhost:20300  until " in output
    assert [(one.branch, one.commit, one.hours) for one in started] == [(BRANCH, commit, 3)]
    note = bench.origin.git("notes", f"--ref=visage/{cli.MARK}", "show", commit)
    assert note.startswith(f"Preview of `{commit[:12]}`: http://preview.localhost:20300 until ")


@pytest.mark.parametrize("branch", ["refs/pull/1/head", "nothing", "x" * 3000, "a\nb"])
def test_a_branch_that_is_not_here_is_refused_in_one_line(bench: Bench, branch: str) -> None:
    bench.origin.git("update-ref", "refs/pull/1/head", bench.push({"dags/evil.py": b""}))
    status, output = run("up", "--", branch)
    assert status == 1
    assert "no such branch on visage" in output
    assert output.splitlines()[-1].startswith("Next: ")
    assert record.read_all(bench.layout.previews) == []


def test_a_branch_whose_name_is_too_long_is_refused_in_one_line(bench: Bench) -> None:
    branch = "a/" * 600 + "b"
    bench.origin.git("update-ref", f"refs/heads/{branch}", bench.push({"dags/more.py": b""}))
    status, output = run("up", "--", branch)
    assert status == 1
    assert output.splitlines()[0].startswith(
        "Cannot bring the preview up: the name of the branch has more than 1024"
    )
    assert record.read_all(bench.layout.previews) == []


def test_the_list_has_each_preview(bench: Bench) -> None:
    assert run("list") == (0, "No previews.\n")
    preview = Preview(branch=BRANCH, commit="a" * 40, port=20_300, since=datetime.now(UTC), hours=8)
    record.write(bench.layout.previews / preview.name, preview)
    (row,) = json.loads(run("list", "--json")[1])
    address = f"http://{name_of(BRANCH)}.localhost:20300"
    assert (row["branch"], row["url"], row["state"]) == (BRANCH, address, "down")
    assert f"{BRANCH}  {'a' * 12}  {address}  down  until " in run("list")[1]
    assert run("down", "--", "another")[0] == 1
    assert run("down", BRANCH)[0] == 0
    assert run("list") == (0, "No previews.\n")


def test_gitops_needs_the_engine_of_a_checkout(bench: Bench) -> None:
    done = CliRunner().invoke(gitops, ["preview", "list"])
    assert done.exit_code == 1
    assert "has no folder infra/preview; run this in a checkout of the repository" in done.output


def test_gitops_becomes_the_engine_with_its_options(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.layout.checkout / "infra/preview").mkdir(parents=True)
    became: list[list[str]] = []

    def execv(_: str, command: list[str]) -> None:
        became.append(command[1:])
        raise SystemExit(0)

    monkeypatch.setattr("os.execv", execv)
    for arguments in (["up", "--hours", "3", "--", "-odd"], ["down", BRANCH], ["list", "--json"]):
        assert CliRunner().invoke(gitops, ["preview", *arguments]).exit_code == 0
    assert became == [
        ["-m", "infra.preview", "up", "--hours=3.0", "--", "-odd"],
        ["-m", "infra.preview", "down", "--", BRANCH],
        ["-m", "infra.preview", "list", "--json"],
    ]
    assert Path.cwd() == bench.layout.checkout
