"""The pipeline for Forgejo and Gitea, made from the workflows of GitHub."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from gitops.cli import app
from gitops.errors import ForgeError
from gitops.forge.interface import JOBS
from gitops.forge.pipeline import FOLDER, SOURCE, files
from tests.support.lab import ROOT


def commands(path: Path) -> dict[str, list[str]]:
    """The commands of each job of a workflow."""
    jobs = YAML(typ="safe", pure=True).load(path.read_text())["jobs"]
    return {
        name: [step["run"] for step in job["steps"] if step.get("name", "") != "Make .venv" and "run" in step]
        for name, job in jobs.items()
    }


def test_the_files_are_those_that_the_workflows_give() -> None:
    for path, text in files(ROOT).items():
        assert (ROOT / path).read_text() == text, "run: .venv/bin/gitops forge pipeline"
    assert sorted(path.name for path in (ROOT / FOLDER).iterdir()) == sorted(
        path.name for path in files(ROOT)
    )


def test_its_jobs_run_the_commands_of_the_workflow() -> None:
    there, here = (commands(ROOT / folder / "pull-request.yml") for folder in (SOURCE, FOLDER))
    assert there == here
    assert set(JOBS) <= set(here)


def test_what_a_pull_request_starts_has_no_secret_and_what_forgejo_lacks_is_not_asked_for() -> None:
    for path, text in files(ROOT).items():
        content = YAML(typ="safe", pure=True).load(text)
        assert ("secrets." in text) == ("pull_request" not in content["on"]), path
        assert not re.search(r"merge_group|permissions|environment:|\$/|actions/(cache|upload)|&id", text)
        for job in content["jobs"].values():
            for step in job["steps"]:
                used = step.get("uses", "actions/checkout@" + "0" * 40)
                assert re.fullmatch(r"actions/(checkout|setup-python)@[0-9a-f]{40}", used)
        # The steps and events that it names exist.
        assert set(re.findall(r"steps\.(\w+)", text)) <= set(re.findall(r"^ +id: (\w+)", text, re.MULTILINE))
        assert "steps.app" not in json.dumps(content)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gitops.git.repository import Repository

    for folder in (SOURCE, Path(".github/actions/setup")):
        (tmp_path / folder).mkdir(parents=True)
        for file in (ROOT / folder).iterdir():
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    Repository(tmp_path).git("init", "--quiet", "--template=")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(app, ["forge", "pipeline", "--check"]).exit_code == 1
    assert run(app, ["forge", "pipeline"]).exit_code == 0
    assert run(app, ["forge", "pipeline", "--check"]).exit_code == 0
    workflow = tmp_path / SOURCE / "pull-request.yml"
    workflow.write_text(workflow.read_text().replace("make lint", "make lint --jobs"))
    done = run(app, ["forge", "pipeline", "--check"])
    assert (done.exit_code, "pull-request.yml: differs" in done.output) == (1, True)
    workflow.unlink()
    with pytest.raises(ForgeError, match=r"pull-request\.yml: No such file or directory; run this in"):
        files(tmp_path)
