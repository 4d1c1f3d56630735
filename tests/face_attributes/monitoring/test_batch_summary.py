import json

import pyarrow as pa
import pytest

from face_attributes.monitoring.batch_summary import Summary


def rows(scores):
    return pa.record_batch(
        {
            "Smiling": pa.array([score >= 0.5 for score in scores]),
            "Smiling_score": pa.array(scores, pa.float32()),
        }
    )


def test_batches_of_rows_are_added_up(tmp_path):
    summary = Summary(["Smiling"])
    summary.add(rows([0.25, 0.75]))
    summary.add(rows([0.75, 0.75]))
    scores = tmp_path / "date=2026-11-25" / "mon.day.parquet"
    bad = {"b.jpg": "not a JPEG", "a.jpg": "empty file", "c.jpg": "not a JPEG"}
    summary.write(tmp_path / "figures.json", scores, "a" * 64, "b" * 40, bad)
    assert json.loads((tmp_path / "figures.json").read_text()) == {
        "format": 1,
        "batch": "mon.day",
        "day": "2026-11-25",
        "release": "b" * 40,
        "model_sha256": "a" * 64,
        "rows": 4,
        "quarantined": {"empty file": 1, "not a JPEG": 2},
        "attributes": {"Smiling": {"mean_score": pytest.approx(0.625), "positive": 0.75}},
    }


def test_a_batch_without_a_row_has_no_means(tmp_path):
    Summary(["Smiling"]).write(tmp_path / "figures.json", tmp_path / "a.parquet", "a" * 64, None, {"1": "x"})
    found = json.loads((tmp_path / "figures.json").read_text())
    assert (found["rows"], found["attributes"], found["day"]) == (0, {}, None)
    assert found["quarantined"] == {"x": 1}
