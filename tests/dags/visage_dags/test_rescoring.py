import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visage_dags import batches, rescoring

GOOD, BAD, OLD = "a" * 64, "b" * 64, "c" * 64


def scored(home: Path, batch: str, model: str, at: int, *, kept: bool = True) -> Path:
    """Leave a scored batch of three faces, with its photographs; `at` is when it was scored."""
    folder = home / "scores" / "date=2026-01-01"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{batch}.parquet"
    write(path, [True, True, False])
    summary = batches.summary_path(path)
    summary.write_text(json.dumps({"model_sha256": model}))
    os.utime(summary, (at, at))
    if kept:
        (home / "scored" / batch).mkdir(parents=True)
        (home / "scored" / batch / "1.jpg").write_bytes(b"jpeg")
    return path


def write(path: Path, smiling: list[bool], ids: str = "123") -> None:
    columns = {"id": list(ids), "Smiling": smiling, "Male": [True] * 3, "Smiling_score": [0.5] * 3}
    pq.write_table(pa.table(columns), path)


def test_the_batches_of_the_model_before_are_scored_again_under_their_names(tmp_path: Path) -> None:
    scored(tmp_path, "old", OLD, 1)
    scored(tmp_path, "upload~2", BAD, 2)
    scored(tmp_path, "a.b", BAD, 3)
    scored(tmp_path, "deleted", BAD, 3, kept=False)
    mine = scored(tmp_path, "mine", GOOD, 4)
    (tmp_path / "scores/date=2026-01-01/broken.json").write_text("{")
    assert rescoring.bring_back(tmp_path, GOOD) == ["a.b", "upload~2"]
    assert batches.waiting(tmp_path) == ["a.b", "upload~2"]
    for name in ("a.b", "upload~2"):
        assert rescoring.is_again(tmp_path, name)
        assert batches.scores_path(tmp_path, name) == mine.with_name(f"{name}.parquet")
        assert batches.photographs(tmp_path, name) == 1
    assert rescoring.bring_back(tmp_path, GOOD) == ["a.b", "upload~2"], "a second attempt"
    assert sorted(path.name for path in (tmp_path / "scored").iterdir()) == ["mine", "old"]


def test_without_scores_of_another_model_nothing_is_scored_again(tmp_path: Path) -> None:
    assert rescoring.bring_back(tmp_path, GOOD) == []
    scored(tmp_path, "mine", GOOD, 4)
    assert rescoring.bring_back(tmp_path, GOOD) == []


def test_a_batch_whose_name_waits_is_left_for_the_next_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scored(tmp_path, "upload", BAD, 1)
    (tmp_path / "incoming/upload").mkdir(parents=True)
    assert rescoring.bring_back(tmp_path, GOOD) == []
    assert "upload: another batch of that name waits" in caplog.text
    assert (tmp_path / "scored/upload/1.jpg").is_file()


def test_the_decisions_that_changed_are_counted_and_the_earlier_scores_end(tmp_path: Path) -> None:
    path = scored(tmp_path, "monday", BAD, 1)
    assert rescoring.compare(tmp_path, "monday", path) is None
    rescoring.bring_back(tmp_path, GOOD)
    write(path, [True, True, True], ids="213")
    change = rescoring.compare(tmp_path, "monday", path)
    assert str(change) == "1 of 6 decisions differ from the earlier ones: Smiling 1"
    retired = batches.retire(tmp_path, "monday")
    rescoring.end(retired)
    assert sorted(entry.name for entry in retired.iterdir()) == [".visage-arrival", "1.jpg"]
