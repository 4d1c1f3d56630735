from datetime import date
from pathlib import Path

import pytest

from gitops.release import file as release_file
from gitops.release.file import Release
from infra.local import demo
from infra.local.errors import EngineError
from tests.support.lab import Lab


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    path = tmp_path / "scores/date=2026-01-07/demo-calm-1.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"scores")
    return path


def test_scores_are_filed_under_another_day_once(tmp_path: Path, scores: Path) -> None:
    for _ in range(2):
        demo._file_under(tmp_path, "demo-calm-1", date(2026, 1, 2))
        assert demo._scores(tmp_path, "demo-calm-1") == [tmp_path / "scores/date=2026-01-02" / scores.name]
    assert not scores.exists()


def test_a_batch_is_scored_once_its_images_are_out_of_the_way(tmp_path: Path, scores: Path) -> None:
    waiting = tmp_path / "incoming/demo-calm-1"
    waiting.mkdir(parents=True)
    assert demo._scored(tmp_path, "demo-calm-1") is None
    waiting.rmdir()
    assert demo._scored(tmp_path, "demo-calm-1") == scores
    assert demo._scored(tmp_path, "demo-calm-2") is None


def test_a_held_environment_is_named_before_anything_is_scored_or_trained(tmp_path: Path) -> None:
    lab, environments = Lab(tmp_path), ("staging", "prod")
    demo.require_no_holds(lab.state(), environments)
    lab.declare("prod", release_file.render(Release(commit=lab.tip, hold="rolled back"), "prod").decode())
    with pytest.raises(EngineError, match="prod is held: rolled back; lift the hold") as caught:
        demo.require_no_holds(lab.state(), environments)
    assert caught.value.next_command == ".venv/bin/gitops unhold prod --push"
