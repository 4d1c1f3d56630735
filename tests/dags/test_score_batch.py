"""A canary in the task that scores a batch, whose commands a function of the test runs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import score_faces_dag
from gitops import tasks
from score_faces_dag import SCORES, score_batch
from visage_dags import batches, notices
from visage_dags.batches import Outcome

RELEASE, CANARY = "1" * 40, "2" * 40


def test_a_canary_that_does_not_end_leaves_the_release_time_for_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, float]] = []
    ended: list[tuple[str, str]] = []

    def call(*, command: list[str], folder: str, minutes: float) -> None:
        commit = command[command.index("--release") + 1]
        calls.append((commit, minutes))
        if commit == CANARY:
            raise tasks.CommandError(f"score: no end within {minutes} minutes")

    def step_down(*, canary: str, reason: str) -> str:
        ended.append((canary, reason))
        return ""

    monkeypatch.setenv("VISAGE_HOME", str(tmp_path))
    monkeypatch.setattr(tasks, "call", call)
    monkeypatch.setattr(tasks, "step_down", step_down)
    monkeypatch.setattr(tasks, "fetch_model", lambda *, release: f"/models/{release}.onnx")
    monkeypatch.setattr(tasks, "release", lambda *, checkout: RELEASE)
    monkeypatch.setattr(notices, "notify", lambda *_: None)
    monkeypatch.setattr(batches, "outcome", lambda *_: Outcome(1, 0))
    events = {SCORES: SimpleNamespace(extra=None)}
    monkeypatch.setattr(score_faces_dag, "get_current_context", lambda: {"outlet_events": events})
    (tmp_path / "incoming/monday").mkdir(parents=True)
    (tmp_path / "incoming/monday/1.jpg").touch()
    score_batch.function("monday", "1/1", CANARY)
    assert [commit for commit, _ in calls] == [CANARY, RELEASE]
    decorated: Any = score_batch
    limit = decorated.kwargs["execution_timeout"]
    assert sum(minutes for _, minutes in calls) * 60 < limit.total_seconds()
    assert events[SCORES].extra["release"] == RELEASE
    assert ended[0][0] == CANARY
    assert "no end within" in ended[0][1]
