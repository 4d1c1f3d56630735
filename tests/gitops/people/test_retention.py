"""A year of an environment in a second: everything is bounded, and nothing goes that somebody needs."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops.people.retention import KINDS, RECORD, Needed, sweep
from tests.support.nest import nest

DAYS = {kind.setting: 30 for kind in KINDS}
START = datetime(2026, 1, 1, 3, tzinfo=UTC)


def put(path: Path, at: datetime, content: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    for entry in (path, path.parent):
        os.utime(entry, (at.timestamp(), at.timestamp()))


def alarm(home: Path, *alarms: str) -> None:
    file = home / "monitoring" / "decisions.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as record:
        record.write(json.dumps({"alarm": alarms}) + "\n")


def a_day(home: Path, day: datetime) -> None:
    name = day.date().isoformat()
    put(home / "scored" / name / "a.jpg", day)
    put(home / "quarantine" / name / "b.jpg", day)
    put(home / "scores" / f"date={name}" / f"{name}.parquet", day)
    put(home / "shadows" / "tried" / f"date={name}" / f"{name}.parquet", day)
    put(home / "runs" / name / "commit", day)
    put(home / "monitoring" / name / "drift.json", day)
    put(home / "readings" / f"{name}.jsonl", day)
    put(home / "labels" / f"{name}.csv", day, "image_id,Smiling\nnone.jpg,1\n")
    put(home / "labelled" / f"dev-{name}" / "gathered.csv", day, "image_id,source\n")


def counts(home: Path) -> dict[str, int]:
    return {kind.folder: len(list((home / kind.folder).glob(kind.pattern))) for kind in KINDS}


@pytest.mark.long
def test_a_year_is_bounded_and_an_incident_stops_it(tmp_path: Path) -> None:
    most = dict.fromkeys((kind.folder for kind in KINDS), 0)
    merged: set[str] = set()
    for number in range(365):
        day = START + timedelta(days=number)
        a_day(tmp_path, day)
        merged.add(f"dev-{day.date().isoformat()}")
        if number in (100, 120):
            alarm(tmp_path, *(["drift"] if number == 100 else []))
        needed = Needed("held: audit" if 200 <= number < 220 else "", frozenset(merged))
        line = sweep(tmp_path, DAYS, needed, day)
        if 100 <= number < 120:
            assert line["reason"] == "open alarm: drift"
            assert line["removed"] == {}
        elif 200 <= number < 220:
            assert line["reason"] == "held: audit"
            assert line["removed"] == {}
        most = {folder: max(most[folder], count) for folder, count in counts(tmp_path).items()}
    # Thirty days and today; twenty more while an incident was open
    assert set(most.values()) <= {51, 52}
    assert set(counts(tmp_path).values()) <= {31, 32}
    record = [json.loads(text) for text in (tmp_path / RECORD).read_text().splitlines()]
    assert len(record) == 365
    assert sum(line["removed"].get("scored", 0) for line in record) >= 333
    assert (tmp_path / "monitoring" / "decisions.jsonl").is_file()


def test_without_a_number_everything_stays(tmp_path: Path) -> None:
    a_day(tmp_path, START)
    before = counts(tmp_path)
    assert sweep(tmp_path, {}, Needed(), START + timedelta(days=4000))["removed"] == {}
    assert counts(tmp_path) == before


def test_a_photograph_waits_until_its_label_is_gathered(tmp_path: Path) -> None:
    later = START + timedelta(days=90)
    put(tmp_path / "scored" / "upload" / "a.jpg", START)
    put(tmp_path / "scored" / "other" / "a.jpg", START)
    put(tmp_path / "labels" / "upload.csv", START, "image_id,Smiling\na.jpg,1\n")
    line = sweep(tmp_path, DAYS, Needed(), later)
    assert line["removed"] == {"scored": 1}
    assert line["kept"] == {"scored": 1, "labels": 1}
    assert (tmp_path / "scored" / "upload" / "a.jpg").is_file()
    put(tmp_path / "labelled" / "dev-1" / "gathered.csv", later, "image_id,source\n1.jpg,upload/a.jpg\n")
    assert sweep(tmp_path, DAYS, Needed(), later)["removed"] == {"scored": 1, "labels": 1}


def test_a_labelled_batch_waits_for_main(tmp_path: Path) -> None:
    later = START + timedelta(days=90)
    put(tmp_path / "labelled" / "dev-1" / "1.jpg", START)
    put(tmp_path / "labelled" / ".arriving" / "1.jpg", START)
    assert sweep(tmp_path, DAYS, Needed(), later)["kept"] == {"labelled": 1}
    assert sweep(tmp_path, DAYS, Needed(batches=frozenset({"dev-1"})), later)["removed"] == {"labelled": 1}
    assert (tmp_path / "labelled" / ".arriving" / "1.jpg").is_file()


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"alarm": []}'])
def test_a_damaged_line_of_monitoring_is_passed_over(tmp_path: Path, damaged: str) -> None:
    alarm(tmp_path, "accuracy")
    with (tmp_path / "monitoring" / "decisions.jsonl").open("a") as file:
        file.write(f"{damaged}\n")
    closed = damaged == '{"alarm": []}'
    reason = sweep(tmp_path, DAYS, Needed(), START)["reason"]
    assert reason == ("" if closed else "open alarm: accuracy")


@pytest.mark.parametrize("name", ["2020-01-01", "20200101", "date=2020-01-01"])
def test_a_batch_that_has_the_name_of_a_day_is_as_old_as_its_last_change(tmp_path: Path, name: str) -> None:
    put(tmp_path / "scored" / name / "a.jpg", START)
    assert sweep(tmp_path, DAYS, Needed(), START + timedelta(days=1))["removed"] == {}
    assert sweep(tmp_path, DAYS, Needed(), START + timedelta(days=31))["removed"] == {"scored": 1}


def test_a_change_deep_in_a_folder_is_a_change_of_it(tmp_path: Path) -> None:
    later = START + timedelta(days=90)
    put(tmp_path / "runs" / "slow" / "plots" / "loss.csv", later)
    put(tmp_path / "runs" / "slow" / "commit", START)
    put(tmp_path / "runs" / "done" / "commit", START)
    assert sweep(tmp_path, DAYS, Needed(), later)["removed"] == {"runs": 1}
    assert (tmp_path / "runs" / "slow" / "plots" / "loss.csv").is_file()


@pytest.mark.parametrize(("name", "levels"), [("a", 1500), ("L" * 250, 30)])
def test_a_tree_that_is_too_deep_for_python_goes_too(tmp_path: Path, name: str, levels: int) -> None:
    folder = tmp_path / "quarantine/old"
    folder.mkdir(parents=True)
    nest(folder, name, levels)
    later = datetime.now(UTC) + timedelta(days=90)
    assert sweep(tmp_path, DAYS, Needed(), later)["removed"] == {"quarantine": 1}
    assert not folder.exists()


@pytest.mark.parametrize("name", ["date=9999-12-31", "date=0001-01-01", "date=soon"])
def test_an_odd_day_of_scores_stops_nothing(tmp_path: Path, name: str) -> None:
    put(tmp_path / "scores" / name / "a.parquet", START)
    put(tmp_path / "scored" / "upload" / "a.jpg", START)
    removed = sweep(tmp_path, DAYS, Needed(), START + timedelta(days=90))["removed"]
    assert removed["scored"] == 1
    assert removed.get("scores", 0) == (name != "date=9999-12-31")


@pytest.mark.parametrize("name", ["a" * 300, "a" * 200_000, "../../a", "b\0c", "*", "/etc/passwd"])
def test_an_odd_name_in_a_list_of_labels_stops_nothing(tmp_path: Path, name: str) -> None:
    later = START + timedelta(days=90)
    put(tmp_path / "scored" / "upload" / "a.jpg", START)
    put(tmp_path / "scored" / "other" / "a.jpg", START)
    put(tmp_path / "labels" / "upload.csv", START, f"image_id,Smiling\n{name},1\na.jpg,1\n")
    line = sweep(tmp_path, DAYS, Needed(), later)
    assert (line["removed"], line["kept"]) == ({"scored": 1}, {"scored": 1, "labels": 1})


def test_a_link_goes_and_its_target_stays(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "a.jpg", START)
    (tmp_path / "home" / "scored").mkdir(parents=True)
    link = tmp_path / "home" / "scored" / "link"
    link.symlink_to(tmp_path / "elsewhere")
    os.utime(link, (START.timestamp(), START.timestamp()), follow_symlinks=False)
    assert sweep(tmp_path / "home", DAYS, Needed(), START + timedelta(days=90))["removed"] == {"scored": 1}
    assert (tmp_path / "elsewhere" / "a.jpg").is_file()


def test_the_newest_copies_stay_and_those_of_today(tmp_path: Path) -> None:
    later = START + timedelta(days=200)
    for number in range(60):
        for folder, name in (("models", "onnx"), ("references", "parquet"), ("comparisons", "json")):
            put(tmp_path / folder / f"{number}.{name}", START + timedelta(days=number))
    put(tmp_path / "models" / "releases" / "note", START)
    assert sweep(tmp_path, {}, Needed("held"), later)["removed"] == {}
    line = sweep(tmp_path, {}, Needed(), later)
    assert line["removed"] == {"models": 10, "references": 10, "comparisons": 10}
    assert {path.name for path in (tmp_path / "models").iterdir()} == {
        "releases",
        *(f"{number}.onnx" for number in range(10, 60)),
    }
    for number in range(60):
        put(tmp_path / "models" / f"new-{number}.onnx", later)
    assert sweep(tmp_path, {}, Needed(), later)["removed"] == {"models": 50}
