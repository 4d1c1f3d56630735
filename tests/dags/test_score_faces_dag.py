"""Scoring, as `airflow dags test` runs it, with a model that was really trained."""

import csv
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.dags.conftest import Trained

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def events(trained: Trained) -> list[dict[str, Any]]:
    """What the asset `scores` was said to have got, oldest first."""
    database = trained.environments.layout.paths_of("staging").root / "airflow.db"
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT event.extra FROM asset_event event JOIN asset ON asset.id = event.asset_id "
            "WHERE asset.name = 'scores' ORDER BY event.id"
        ).fetchall()
    return [json.loads(extra) for (extra,) in rows]


def home(trained: Trained) -> Path:
    return trained.environments.data("staging")


def deliver(trained: Trained, batch: str) -> Path:
    return Path(shutil.copytree(trained.faces, home(trained) / "incoming" / batch))


def test_a_batch_scored_twice_has_one_result(trained: Trained) -> None:
    broken = deliver(trained, "monday") / "broken.jpg"
    broken.write_bytes(b"not an image")
    ran = trained.environments.test("staging", "score_faces")
    assert ran.status == 0, ran.output[-3000:]
    [file] = (home(trained) / "scores").rglob("*.parquet")
    assert file.parent.name.startswith("date=20")
    assert file.name == "monday.parquet"
    table = pq.read_table(file)
    assert table.num_rows == 32
    assert set(table["release"].to_pylist()) == {trained.release}
    figures = json.loads((file.parent / "monday.json").read_text())
    assert (figures["rows"], figures["quarantined"]) == (32, {"not a JPEG, PNG, WebP or HEIC": 1})
    assert (figures["day"], figures["release"]) == (file.parent.name.removeprefix("date="), trained.release)
    [row] = csv.DictReader((home(trained) / "quarantine/monday/quarantine.csv").open())
    assert row["id"] == "broken.jpg"
    assert (home(trained) / "quarantine/monday/broken.jpg").read_bytes() == b"not an image"
    expected = {
        "batch": "monday",
        "rows": 32,
        "quarantined": 1,
        "release": trained.release,
        "whole": True,
    }
    assert events(trained) == [expected]
    assert "32 images are scored" in ran.output
    assert "1 are in quarantine" in ran.output

    # As after a kill between the scores and the move; and the day is over since.
    earlier = file.parent.with_name("date=2026-01-01")
    file.parent.rename(earlier)
    (home(trained) / "scored/monday").rename(home(trained) / "incoming/monday")
    before = (earlier / file.name).read_bytes()
    assert trained.environments.test("staging", "score_faces").status == 0
    [again] = (home(trained) / "scores").rglob("*.parquet")
    assert again == earlier / file.name
    assert pq.read_table(again).equals(table)
    assert len(again.read_bytes()) <= len(before)
    assert (home(trained) / "scored/monday").is_dir()
    assert events(trained) == [expected, expected]


def test_a_large_batch_is_scored_in_parts_and_joined_once(trained: Trained) -> None:
    broken = deliver(trained, "large") / "broken.jpg"
    broken.write_bytes(b"not an image")
    before = len(events(trained))
    ran = trained.environments.test("staging", "score_faces", extra={"SCORING_PART_IMAGES": "10"})
    assert ran.status == 0, ran.output[-3000:]
    assert "large: part 1/4 is scored" in ran.output
    [file] = (home(trained) / "scores").rglob("large.parquet")
    assert pq.read_table(file).num_rows == 32
    assert json.loads((file.parent / "large.json").read_text())["quarantined"] == {
        "not a JPEG, PNG, WebP or HEIC": 1
    }
    joined = {"batch": "large", "rows": 32, "quarantined": 1, "release": trained.release, "whole": False}
    assert events(trained)[before:] == [joined]
    assert (home(trained) / "scored/large").is_dir()
    assert trained.environments.test("staging", "score_faces").status == 0
    assert list((home(trained) / "parts").iterdir()) == []


def test_batches_of_a_bad_release_are_scored_again_and_compared(trained: Trained) -> None:
    deliver(trained, "sunday")
    assert trained.environments.test("staging", "score_faces").status == 0
    [file] = (home(trained) / "scores").rglob("sunday.parquet")
    table = pq.read_table(file)
    flipped = [not value for value in table["Smiling"].to_pylist()]
    bad = table.set_column(table.schema.get_field_index("Smiling"), "Smiling", [flipped])
    marks = {key: value for key, value in pq.read_metadata(file).metadata.items() if key != b"ARROW:schema"}
    pq.write_table(bad.replace_schema_metadata(marks), file)
    summary = file.with_suffix(".json")
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"model_sha256": "b" * 64}))
    before = len(events(trained))
    ran = trained.environments.test("staging", "score_faces", conf={"rescore": "previous"})
    assert ran.status == 0, ran.output[-3000:]
    assert pq.read_table(file).equals(table)
    [event] = events(trained)[before:]
    assert (event["batch"], event["changed"]) == ("sunday", 32)
    assert "[Visage staging] score_faces: scored sunday again" in ran.output
    decisions = 32 * sum(name.endswith("_score") for name in table.column_names)
    assert f"32 of {decisions:,} decisions differ from the earlier ones: Smiling 32" in ran.output
    assert not list((home(trained) / "scored/sunday").glob(".visage-before*"))


def test_nothing_waits_nothing_happens(trained: Trained) -> None:
    before = len(events(trained))
    ran = trained.environments.test("staging", "score_faces")
    assert ran.status == 0, ran.output[-3000:]
    assert "0 batches wait: none" in ran.output
    assert len(events(trained)) == before


def test_a_batch_without_a_usable_image_fails_once_and_holds_up_no_other(trained: Trained) -> None:
    for name in ("bad", "empty"):
        (home(trained) / "incoming" / name).mkdir(parents=True)
    (home(trained) / "incoming/bad/1.jpg").write_bytes(b"not an image")
    deliver(trained, "tuesday")
    ran = trained.environments.test("staging", "score_faces")
    assert ran.status != 0
    assert "not one of its 1 files can be used" in ran.output
    assert "holds no images" in ran.output
    assert "[Visage staging] score_faces: score_batch failed" in ran.output
    assert [path.name for path in (home(trained) / "scores").rglob("tuesday.parquet")] == ["tuesday.parquet"]
    assert (home(trained) / "quarantine/bad/1.jpg").read_bytes() == b"not an image"
    [figures] = (home(trained) / "scores").rglob("bad.json")
    assert json.loads(figures.read_text())["quarantined"] == {"not a JPEG, PNG, WebP or HEIC": 1}
    assert list((home(trained) / "incoming").iterdir()) == []
    assert trained.environments.test("staging", "score_faces").status == 0
