from pathlib import Path

import pytest

from gitops.errors import ForgeError, GitopsError
from gitops.forge.workflow_run import mark, seconds, summarise
from tests.gitops.conftest import client
from tests.workflows.forge import Forge


def test_how_long_jobs_took(forge: Forge) -> None:
    times = {"started_at": "2026-01-01T10:00:00Z", "completed_at": "2026-01-01T10:01:30Z"}
    forge.jobs[3] = [
        {"name": "test", "status": "completed", "conclusion": "failure", **times},
        {"name": "train", "status": "completed", "conclusion": "skipped", **times},
        {"name": "verdict", "status": "in_progress", "conclusion": None, "completed_at": None, **times},
    ]
    forge.jobs[3][2]["completed_at"] = None
    assert seconds(client(forge, actions="read"), 3) == {"test": 90.0}


@pytest.mark.parametrize(
    ("outcome", "state"),
    [("success", "success"), ("failure", "failure"), ("cancelled", "error"), ("skipped", "error")],
)
def test_a_status_beside_a_commit(forge: Forge, outcome: str, state: str) -> None:
    mark(
        client(forge, statuses="write"), forge.sha("main"), "report", outcome, "x" * 200, "https://x.example"
    )
    (status,) = forge.statuses
    assert (status["state"], len(status["description"])) == (state, 140)


def test_an_outcome_that_there_is_none_of(forge: Forge) -> None:
    with pytest.raises(ForgeError, match="no outcome of a step"):
        mark(client(forge), forge.sha("main"), "report", "", "x", "https://x.example")


def test_a_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, target = tmp_path / "report.md", tmp_path / "summary"
    with pytest.raises(GitopsError, match="GITHUB_STEP_SUMMARY: not set"):
        summarise(report)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(target))
    with pytest.raises(GitopsError, match="No such file"):
        summarise(report)
    report.write_text("one\n")
    summarise(report)
    summarise(report)
    assert target.read_text() == "one\none\n"
    report.write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(GitopsError, match="a summary takes 1048576"):
        summarise(report)
