import json
import os
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_attributes.data import quarantine as quarantine_list
from tests.support.nest import nest
from visage_dags import batches


def drop(home: Path, name: str) -> None:
    (home / "incoming" / name).mkdir(parents=True)
    (home / "incoming" / name / "1.jpg").write_bytes(b"jpeg")


def test_what_still_arrives_does_not_wait(tmp_path: Path) -> None:
    assert batches.waiting(tmp_path) == []
    for name in ("b", "a", ".c"):
        drop(tmp_path, name)
    (tmp_path / "incoming" / "note.txt").touch()
    assert batches.waiting(tmp_path) == ["a", "b"]


def test_a_batch_has_one_file_of_scores_whenever_it_is_scored(tmp_path: Path) -> None:
    first = batches.scores_path(tmp_path, "a[1]")
    assert first.parent.parent == tmp_path / "scores"
    assert first.parent.name.startswith("date=")
    assert first.name == "a[1].parquet"
    yesterday = tmp_path / "scores" / "date=2026-01-01" / "a[1].parquet"
    yesterday.parent.mkdir(parents=True)
    yesterday.touch()
    assert batches.scores_path(tmp_path, "a[1]") == yesterday
    assert batches.scores_path(tmp_path, "a1") != yesterday


def test_the_figures_of_a_batch_are_beside_its_scores(tmp_path: Path) -> None:
    scores = batches.scores_path(tmp_path, "2026.11.25")
    assert batches.summary_path(scores) == scores.parent / "2026.11.25.json"
    batches.summary_path(scores).parent.mkdir(parents=True)
    batches.summary_path(scores).touch()
    assert batches.scores_path(tmp_path, "2026.11.25") == scores


def score(home: Path, batch: str) -> Path:
    """Leave the scores of a waiting batch, and retire it, as the DAG does."""
    assert batch in batches.waiting(home)
    scores = batches.scores_path(home, batch)
    assert not scores.exists()
    scores.parent.mkdir(parents=True, exist_ok=True)
    scores.write_text(scores.stem)
    return batches.retire(home, batch)


def test_a_folder_name_that_comes_again_overwrites_nothing(tmp_path: Path) -> None:
    for name in ("a", "a~2", "a~3"):
        drop(tmp_path, "a")
        assert score(tmp_path, "a") == tmp_path / "scored" / name
        assert batches.quarantine_path(tmp_path, "a") == tmp_path / "quarantine" / "a"
    stems = sorted(path.read_text() for path in (tmp_path / "scores").rglob("*.parquet"))
    assert stems == ["a", "a~2", "a~3"]
    assert (tmp_path / "scored/a~2/1.jpg").read_bytes() == b"jpeg"
    assert batches.waiting(tmp_path) == []
    drop(tmp_path, "a~2")
    drop(tmp_path, "a")
    assert batches.waiting(tmp_path) == ["a", "a~2"]
    names = {batches.scores_path(tmp_path, name).stem for name in ("a", "a~2")}
    assert names == {"a~4", "a~2~2"}


@pytest.mark.parametrize(
    "names",
    [
        (" lead", "trail ", "a b"),
        ("caf\u00e9", "cafe\u0301"),
        ("Monday", "monday", "MONDAY"),
        ("*", "[x]", "?", "-rf", "$(x)", "100%", "date=2026-01-01", "a.parquet", "null", "CON"),
    ],
)
def test_scores_images_and_quarantine_of_a_batch_have_one_name(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    kept: list[str] = []
    for _ in range(2):
        for name in names:
            drop(tmp_path, name)
        assert batches.waiting(tmp_path) == sorted(names)
        for name in names:
            quarantine = batches.quarantine_path(tmp_path, name)
            retired = score(tmp_path, name)
            assert quarantine.name == retired.name
            kept.append(retired.name)
    assert len({*kept}) == 2 * len(names)
    assert sorted(path.stem for path in (tmp_path / "scores").glob("*/*")) == sorted(kept)


def test_a_link_is_named_and_the_folder_that_it_leads_to_stays_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drop(tmp_path, "a")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "notes.txt").write_text("not an image")
    for name, target in (("linked", theirs), ("all", tmp_path), ("b", "a"), ("gone", "nowhere")):
        (tmp_path / "incoming" / name).symlink_to(target)
    assert batches.waiting(tmp_path) == ["a"]
    assert [path.name for path in theirs.iterdir()] == ["notes.txt"]
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}/incoming/{name}: left alone: a link; move or copy the folder itself here"
        for name in ("all", "b", "gone", "linked")
    ]


@pytest.mark.parametrize("left", ["scored/a", "quarantine/a", "scores/date=2026-01-01/a.json"])
def test_a_name_is_taken_by_whatever_is_left_of_it(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir(parents=True)
    drop(tmp_path, "a")
    assert batches.scores_path(tmp_path, "a").stem == "a~2"


def test_a_batch_whose_scoring_was_interrupted_keeps_its_name(tmp_path: Path) -> None:
    drop(tmp_path, "a")
    retired = score(tmp_path, "a")
    drop(tmp_path, "a")
    batches.waiting(tmp_path)
    scores = batches.scores_path(tmp_path, "a")
    scores.write_text("half of the work")
    assert batches.waiting(tmp_path) == ["a"]
    assert batches.scores_path(tmp_path, "a") == scores
    assert batches.retire(tmp_path, "a").name == "a~2"
    assert (retired / "1.jpg").exists()


@pytest.mark.parametrize("name", [b"Jos\xe9", b"two\nlines", "ä".encode() * 120, b"\x1b[2Jred"])
def test_a_folder_of_any_name_is_scored(tmp_path: Path, name: bytes) -> None:
    drop(tmp_path, "monday")
    (tmp_path / "incoming" / os.fsdecode(name)).mkdir()
    names = batches.waiting(tmp_path)
    assert len(names) == 2
    json.dumps(names, ensure_ascii=False).encode()
    for waiting in names:
        assert waiting.isprintable()
        assert batches.is_waiting(tmp_path, waiting)
        path = batches.scores_path(tmp_path, waiting)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert batches.waiting(tmp_path) == names


def test_what_cannot_be_scored_is_named_and_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "closed"):
        drop(tmp_path, name)
    (tmp_path / "incoming/loose.jpg").touch()
    write = Path.write_text

    def refuse(path: Path, *arguments: str) -> int:
        # Root may write everywhere, so the refusal is planted.
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied")
        return write(path, *arguments)

    monkeypatch.setattr(Path, "write_text", refuse)
    assert batches.waiting(tmp_path) == ["a"]
    assert "loose.jpg: left alone: not a folder" in caplog.text
    assert "closed: cannot be scored: Permission denied" in caplog.text


@pytest.mark.long
def test_a_hundred_thousand_entries_are_read_once_and_named_in_a_few_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for number in range(100_000):
        os.mknod(incoming / f"{number}.jpg")
    for number in range(batches.MOST_PARTS + 200):
        (incoming / f"batch {number:04}").mkdir()
    began = time.process_time()
    names = batches.waiting(tmp_path)
    assert len(batches.parts(tmp_path, names, 20_000)) == len(names) == batches.MOST_PARTS
    assert time.process_time() - began < 10
    assert "1000 batches are enough for a run; the next one reads the other 200 entries" in caplog.text
    assert len(caplog.records) < 30
    assert "99980 more entries are left alone" in caplog.text
    assert sum(len(record.getMessage()) for record in caplog.records) < 10_000
    for name in names[:200]:
        batches.retire(tmp_path, name)
    assert len(batches.waiting(tmp_path)) == batches.MOST_PARTS


def test_a_batch_without_an_image_is_empty_and_one_that_is_gone_is_not(tmp_path: Path) -> None:
    drop(tmp_path, "a")
    assert not batches.is_empty(tmp_path, "a")
    (tmp_path / "incoming" / "a" / "1.jpg").rename(tmp_path / "incoming" / "a" / ".1.jpg")
    assert batches.is_empty(tmp_path, "a")
    batches.retire(tmp_path, "a")
    assert not batches.is_empty(tmp_path, "a"), "another one scored it and took it away"


def test_a_tree_that_is_too_deep_stops_no_batch(tmp_path: Path) -> None:
    drop(tmp_path, "a")
    (tmp_path / "incoming/a/1.jpg").unlink()
    nest(tmp_path / "incoming/a", "b", 1500)
    assert batches.parts(tmp_path, batches.waiting(tmp_path), 4) == [{"batch": "a", "part": "1/1"}]
    assert batches.is_empty(tmp_path, "a")
    subprocess.run(["rm", "-r", tmp_path / "incoming"], check=True)  # Python cannot


def test_a_large_batch_is_cut_into_parts_of_which_none_has_too_many_images(tmp_path: Path) -> None:
    for name, images in (("small", 3), ("large", 10), ("empty", 0)):
        folder = tmp_path / "incoming" / name / "within"
        folder.mkdir(parents=True)
        for number in range(images):
            (folder / f"{number}.jpg").touch()
        (folder / ".hidden").touch()
    names = batches.waiting(tmp_path)
    assert batches.parts(tmp_path, names, 4) == [
        {"batch": "empty", "part": "1/1"},
        *({"batch": "large", "part": f"{number}/3"} for number in (1, 2, 3)),
        {"batch": "small", "part": "1/1"},
    ]


def test_airflow_gets_no_more_parts_than_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "photographs", lambda _home, batch: 90_000_000 if batch == "a" else 1)
    for name in ("a", "b"):
        drop(tmp_path, name)
    parts = batches.parts(tmp_path, batches.waiting(tmp_path), 20_000)
    assert 900 < len(parts) <= 1000
    assert parts[-1] == {"batch": "b", "part": "1/1"}


def test_one_task_joins_the_parts_of_a_batch(tmp_path: Path) -> None:
    drop(tmp_path, "a")
    names = batches.waiting(tmp_path)

    def part(text: str, release: str = "f" * 40) -> Path:
        return batches.part_path(tmp_path, "a", release, text)

    def claim(text: str, release: str = "f" * 40) -> list[Path]:
        return batches.claim_parts(tmp_path, "a", release, text)

    def write(*texts: str, release: str = "f" * 40) -> None:
        for text in texts:
            part(text, release).parent.mkdir(parents=True, exist_ok=True)
            part(text, release).write_text(text)

    write("1/3", "2/3")
    write("3/3", release="e" * 40)
    assert claim("2/3") == [], "the third is of another release"
    write("3/3")
    claimed = claim("3/3")
    assert [path.read_text() for path in claimed] == ["1/3", "2/3", "3/3"]
    assert claim("2/3") == claim("1/3") == [], "another task joins them"
    assert claim("3/3") == claimed, "the next attempt of that task"

    # The task fails for good; one that was tried again has begun a folder. The next run goes on.
    write("2/3")
    batches.parts(tmp_path, names, 1)
    assert [path.read_text() for path in claim("1/3")] == ["1/3", "2/3", "3/3"]

    batches.retire(tmp_path, "a")
    batches.parts(tmp_path, batches.waiting(tmp_path), 1)
    assert list((tmp_path / "parts").iterdir()) == []


def test_unusable_images_count_when_their_batch_is_scored_again(tmp_path: Path) -> None:
    scores, quarantine = tmp_path / "a.parquet", tmp_path / "quarantine"
    rows = pa.table({"id": ["1", "2"]})
    reasons = {"broken.jpg": "not an image", "odd\n.jpg": "not an image"}
    pq.write_table(rows.replace_schema_metadata({"quarantined": json.dumps(reasons)}), scores)
    assert batches.outcome(scores, quarantine) == batches.Outcome(2, 2)
    quarantine.mkdir()
    quarantine_list.write(quarantine / "quarantine.csv", reasons)
    assert batches.outcome(scores, quarantine) == batches.Outcome(2, 2)
    pq.write_table(rows.replace_schema_metadata({"quarantined": "{}"}), scores)
    assert batches.outcome(scores, quarantine) == batches.Outcome(2, 2)
    (quarantine / "quarantine.csv").unlink()
    assert batches.outcome(scores, quarantine) == batches.Outcome(2, 0)
