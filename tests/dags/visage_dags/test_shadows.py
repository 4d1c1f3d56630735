from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from visage_dags import shadows

SHADOW = "0123456789abcdef0123456789abcdef01234567"


def scored(home: Path, day: str, batch: str, model: str = "m", *, kept: bool = True) -> Path:
    path = home / "scores" / f"date={day}" / f"{batch}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"id": ["1.jpg"]}).replace_schema_metadata({"model_sha256": model})
    pq.write_table(table, path)
    if kept:
        (home / "scored" / batch).mkdir(parents=True, exist_ok=True)
    return path


def test_batches_of_the_release_wait_until_they_are_scored_or_failed(tmp_path: Path) -> None:
    old = scored(tmp_path, "2026-01-05", "a.b")
    new = scored(tmp_path, "2026-01-06", "c")
    scored(tmp_path, "2026-01-06", "of-another-model", "other")
    scored(tmp_path, "2026-01-06", "without-photographs", kept=False)
    assert shadows.waiting(tmp_path, SHADOW, ["m"]) == [(new, "m"), (old, "m")]
    both = shadows.waiting(tmp_path, SHADOW, {"m": "", "other": ""})
    assert [model for _, model in both] == ["m", "other", "m"]
    assert shadows.photographs(tmp_path, old) == tmp_path / "scored" / "a.b"
    shadows.note_failure(tmp_path, SHADOW, "a.b", f"{tmp_path}/models/m.onnx:\nit crashed")
    assert shadows.failure(tmp_path, SHADOW, "a.b") == "models/m.onnx: it crashed"
    assert shadows.failure(tmp_path, SHADOW, "c") == ""
    assert shadows.failures(tmp_path, SHADOW) == ["models/m.onnx: it crashed"]
    assert not shadows.has_scores(tmp_path, SHADOW)
    done = shadows.scores_path(tmp_path, SHADOW, new)
    assert done == tmp_path / "shadows" / SHADOW[:12] / "date=2026-01-06" / "c.parquet"
    done.parent.mkdir(parents=True)
    done.touch()
    assert shadows.has_scores(tmp_path, SHADOW)
    assert shadows.waiting(tmp_path, SHADOW, ["m"]) == []
    # A batch that the canary answered and the release could not score is not tried again, and no failure.
    answered = scored(tmp_path, "2026-01-07", "d", "canary")
    assert shadows.waiting(tmp_path, SHADOW, ["m", "canary"]) == [(answered, "canary")]
    shadows.note_failure(tmp_path, SHADOW, "d", "it crashed", notes="unpaired")
    assert shadows.waiting(tmp_path, SHADOW, ["m", "canary"]) == []
    assert len(shadows.failures(tmp_path, SHADOW)) == 1


def test_only_the_present_shadow_keeps_its_results(tmp_path: Path) -> None:
    for name in (SHADOW[:12], "another"):
        (tmp_path / "shadows" / name).mkdir(parents=True)
    shadows.keep_only(tmp_path, SHADOW)
    assert [path.name for path in (tmp_path / "shadows").iterdir()] == [SHADOW[:12]]
