"""A labelled batch becomes a commit by the very command that the training pipeline runs."""

import subprocess
from pathlib import Path

import pytest

from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.training.stages import run_command
from visage_dags import labelled

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
def test_a_batch_becomes_a_commit_and_a_file_on_the_dvc_remote(
    tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The command sees no folder of temporary files but that of its environment
    home = tmp_path / "home"
    monkeypatch.setenv("VISAGE_HOME", str(home))
    remote, batch = tmp_path / "remote", home / "labelled" / "late"
    remote.mkdir()
    config = isolated_home / "dvc" / "config"
    config.parent.mkdir()
    config.write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {remote}\n")
    origin = Repository.clone(str(ROOT), tmp_path / "origin.git", "--bare")
    start = origin.resolve("HEAD")
    draw = ["python", "-m", "face_attributes", "draw", str(batch), "--count", "12"]
    subprocess.run(draw, check=True, timeout=120, capture_output=True)

    def append(commit: str) -> str:
        return run_command(
            Origin(str(origin.path)),
            commit,
            ["python", "-m", "face_attributes", "append", str(batch)],
            branch="run/one",
            home=home / "workspaces",
            message="Append labelled batch late",
            data=[labelled.pointer("late")],
        )

    appended = append(start)
    assert origin.changed(start, appended) == [labelled.pointer("late")]
    assert len([path for path in remote.rglob("*") if path.is_file()]) == 1
    again = append(start)
    assert origin.tree_id(again, "data/labelled") == origin.tree_id(appended, "data/labelled")
    assert append(appended) == appended, "what is in is not appended again"
